// The part of Cap'n Proto that a heartbeat needs: one message of one segment,
// in packed encoding.

/** The most bytes that a message may have when unpacked. */
export const MAX_UNPACKED = 1 << 20

/** Packs a message, whose length is a multiple of 8. */
export function pack (bytes) {
  const out = []
  for (let at = 0; at < bytes.length;) {
    const word = bytes.subarray(at, at + 8)
    let tag = 0
    const set = []
    for (let i = 0; i < 8; i++) {
      if (word[i] !== 0) {
        tag |= 1 << i
        set.push(word[i])
      }
    }
    out.push(tag, ...set)
    at += 8
    if (tag === 0) {
      const from = at
      while (at < bytes.length && at - from < 255 * 8 && bytes.subarray(at, at + 8).every((b) => b === 0)) at += 8
      out.push((at - from) / 8)
    } else if (tag === 0xff) {
      // No word is sent as it is: that is allowed, and never wrong.
      out.push(0)
    }
  }
  return Uint8Array.from(out)
}

/** Unpacks a message, and throws if it is malformed or grows too long. */
export function unpack (packed) {
  const out = []
  let at = 0
  const next = () => {
    if (at >= packed.length) throw new Error('the packed message is cut off')
    return packed[at++]
  }
  while (at < packed.length) {
    const tag = next()
    for (let i = 0; i < 8; i++) out.push((tag & (1 << i)) !== 0 ? next() : 0)
    if (tag === 0) {
      const zeros = next() * 8
      for (let i = 0; i < zeros; i++) out.push(0)
    } else if (tag === 0xff) {
      const literal = next() * 8
      for (let i = 0; i < literal; i++) out.push(next())
    }
    if (out.length > MAX_UNPACKED) throw new Error(`the message is longer than ${MAX_UNPACKED} bytes`)
  }
  return Uint8Array.from(out)
}

/** Reads pointers of one segment. Every access is checked. */
export class Reader {
  constructor (message) {
    if (message.length < 8) throw new Error('the message has no segment table')
    const view = new DataView(message.buffer, message.byteOffset, message.length)
    if (view.getUint32(0, true) !== 0) throw new Error('the message has several segments')
    const words = view.getUint32(4, true)
    if (message.length < 8 + words * 8) throw new Error('the segment is cut off')
    this.bytes = message.subarray(8, 8 + words * 8)
    this.view = new DataView(message.buffer, message.byteOffset + 8, words * 8)
    this.words = words
  }

  #pointer (word, kind) {
    if (word >= this.words) throw new Error(`there is no word ${word}`)
    const low = this.view.getInt32(word * 8, true)
    const high = this.view.getUint32(word * 8 + 4, true)
    if (low === 0 && high === 0) return undefined
    if ((low & 3) !== kind) throw new Error(`the pointer in word ${word} is of kind ${low & 3}, not ${kind}`)
    return { target: word + 1 + (low >> 2), high }
  }

  #within (start, words) {
    if (start < 0 || words < 0 || start + words > this.words) throw new Error('a pointer leads out of the segment')
  }

  struct (word) {
    const pointer = this.#pointer(word, 0)
    if (pointer === undefined) throw new Error('there is no struct')
    const data = pointer.high & 0xffff
    const pointers = pointer.high >>> 16
    this.#within(pointer.target, data + pointers)
    return { data: pointer.target, pointers: pointer.target + data, dataWords: data, pointerCount: pointers }
  }

  text (word) {
    const pointer = this.#pointer(word, 1)
    if (pointer === undefined) return ''
    const length = pointer.high >>> 3
    if ((pointer.high & 7) !== 2 || length === 0) throw new Error('the pointer is not one to a text')
    this.#within(pointer.target, Math.ceil(length / 8))
    const bytes = this.bytes.subarray(pointer.target * 8, pointer.target * 8 + length)
    if (bytes[length - 1] !== 0) throw new Error('the text does not end in a zero')
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length - 1))
  }

  texts (word) {
    const pointer = this.#pointer(word, 1)
    if (pointer === undefined) return []
    if ((pointer.high & 7) !== 6) throw new Error('the pointer is not one to a list of texts')
    const count = pointer.high >>> 3
    this.#within(pointer.target, count)
    return Array.from({ length: count }, (_, i) => this.text(pointer.target + i))
  }
}

/** Builds a message of one segment, word by word. */
export class Builder {
  #words = []

  get length () { return this.#words.length }

  /** Adds zeroed words, and gives the number of the first. */
  allocate (words) {
    const first = this.#words.length
    for (let i = 0; i < words; i++) this.#words.push(0n)
    return first
  }

  set (word, value) { this.#words[word] = value }

  struct (word, dataWords, pointers) {
    const target = this.allocate(dataWords + pointers)
    this.#words[word] = (BigInt(target - word - 1) << 2n) | (BigInt(dataWords) << 32n) | (BigInt(pointers) << 48n)
    return target
  }

  text (word, text) {
    const bytes = new TextEncoder().encode(text)
    const target = this.allocate(Math.ceil((bytes.length + 1) / 8))
    bytes.forEach((b, i) => {
      this.#words[target + (i >> 3)] |= BigInt(b) << BigInt(8 * (i & 7))
    })
    this.#list(word, target, 2, bytes.length + 1)
  }

  texts (word, texts) {
    const target = this.allocate(texts.length)
    this.#list(word, target, 6, texts.length)
    texts.forEach((text, i) => this.text(target + i, text))
  }

  #list (word, target, size, count) {
    this.#words[word] = 1n | (BigInt(target - word - 1) << 2n) | (BigInt(size) << 32n) | (BigInt(count) << 35n)
  }

  /** The message with its segment table. */
  finish () {
    const bytes = new Uint8Array(8 + this.#words.length * 8)
    const view = new DataView(bytes.buffer)
    view.setUint32(4, this.#words.length, true)
    this.#words.forEach((w, i) => view.setBigUint64(8 + i * 8, w, true))
    return bytes
  }
}
