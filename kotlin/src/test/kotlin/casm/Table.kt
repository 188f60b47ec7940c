package casm

import java.io.File

/** The table of what every language has, bindings/api.toml. */
internal object Table {
    private val text = File(System.getProperty("casm.table") ?: "../bindings/api.toml").readText()

    private fun section(name: String) =
        text.substringAfter("\n[$name]\n", "").substringBefore("\n[").ifEmpty { error("the table has no [$name]") }

    /** The keys of a section, each with the strings of its array. */
    fun arrays(section: String): Map<String, List<String>> {
        val text = section(section).lines().filterNot { it.startsWith("#") }.joinToString("\n")
        val arrays = Regex("""(\w+) = \[([^]]*)]""").findAll(text)
        return arrays.associate { (_, name, list) -> name to Regex("\"([^\"]*)\"").findAll(list).map { it.groupValues[1] }.toList() }
    }

    private operator fun MatchResult.component1() = value

    private operator fun MatchResult.component2() = groupValues[1]

    private operator fun MatchResult.component3() = groupValues[2]

    /** The strings of one array. */
    fun strings(
        section: String,
        key: String,
    ): List<String> = arrays(section)[key] ?: error("[$section] has no $key")

    /** The sections that have such an array. */
    fun sections(key: String): Set<String> =
        Regex("""(?m)^\[(\w+)]$""").findAll(text).map { it.groupValues[1] }.filter { key in arrays(it) }.toSet()

    /** All names of a section. */
    fun names(section: String): List<String> = arrays(section).values.flatten()

    /** What a language calls otherwise. */
    fun other(language: String): Map<String, String> =
        Regex("""(\w+) = "([^"]*)"""").findAll(section("other.$language")).associate { it.groupValues[1] to it.groupValues[2] }
}
