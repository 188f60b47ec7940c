package casm

import java.time.Duration as JavaDuration
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlin.time.DurationUnit
import kotlin.time.toJavaDuration
import kotlin.time.toKotlinDuration

/** As the library takes it: seconds, infinity for no limit. */
internal fun Duration.toSeconds(): Double = toDouble(DurationUnit.SECONDS)

/** A time to wait that is not limited by nature: infinite is as if nothing was said. */
internal fun Duration?.orNone(): Double? = this?.takeUnless { it == Duration.INFINITE }?.toSeconds()

/** As the library gives it. */
internal fun Double.asSeconds(): Duration = seconds

internal fun JavaDuration?.kotlin(): Duration? = this?.toKotlinDuration()

internal fun Duration.java(): JavaDuration = toJavaDuration()

/** A number that the library takes without a sign. */
internal fun Int.unsigned(what: String): UInt {
    if (this < 0) throw CasmException(CasmException.Kind.CONFIG, "$what: $this: give 0 or more")
    return toUInt()
}

/** The same of a longer one. */
internal fun Long.unsigned(what: String): ULong {
    if (this < 0) throw CasmException(CasmException.Kind.CONFIG, "$what: $this: give 0 or more")
    return toULong()
}

/** A number that the library gives without a sign; more than fits is not met. */
internal fun UInt.toCount(): Int = toLong().coerceAtMost(Int.MAX_VALUE.toLong()).toInt()
