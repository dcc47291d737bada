// Reads HTTP/1.1 answers from a stream of bytes, as they come: any number of them, cut anywhere. Strict, because
// what is not exactly right is what the soak looks for.

const END_OF_HEAD = '\r\n\r\n';

export class AnswerReader {
  #rest = Buffer.alloc(0);
  #next = this.#head;
  #answer = null;
  #left = 0;
  #complete = [];

  /** Takes the next bytes; the answers { status, headers, body } that they complete. Throws on what is not HTTP. */
  read(bytes) {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (this.#rest.length > 0 && this.#next());
    return this.#complete.splice(0);
  }

  /** Whether a part of an answer has come. */
  get isWithin() {
    return this.#answer !== null || this.#rest.length > 0;
  }

  // Each of these consumes from the rest and returns false when more bytes are needed.

  #head() {
    const end = this.#rest.indexOf(END_OF_HEAD);
    if (end < 0) return false;
    const [first, ...lines] = this.#take(end + END_OF_HEAD.length).toString('latin1', 0, end).split('\r\n');
    const status = first.match(/^HTTP\/1\.1 (\d{3}) /);
    if (!status) throw new Error(`not an answer: ${first.slice(0, 40)}`);
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    this.#answer = { status: Number(status[1]), headers, pieces: [] };
    if (headers.get('transfer-encoding') === 'chunked') {
      this.#next = this.#chunkSize;
      return true;
    }
    this.#left = Number(headers.get('content-length') ?? 0);
    this.#next = this.#body;
    return this.#body();
  }

  #body() {
    if (!this.#bytes()) return false;
    this.#finish();
    return true;
  }

  #chunkSize() {
    const line = this.#line();
    if (line === null) return false;
    if (!/^[0-9a-f]+$/i.test(line)) throw new Error(`not a chunk: ${line.slice(0, 40)}`);
    this.#left = parseInt(line, 16);
    this.#next = this.#left === 0 ? this.#lastLine : this.#chunk;
    return true;
  }

  #chunk() {
    if (!this.#bytes()) return false;
    this.#next = this.#chunkEnd;
    return true;
  }

  #chunkEnd() {
    const line = this.#line();
    if (line === null) return false;
    if (line !== '') throw new Error('a chunk that does not end');
    this.#next = this.#chunkSize;
    return true;
  }

  #lastLine() {
    const line = this.#line();
    if (line === null) return false;
    if (line === '') this.#finish();
    return true;
  }

  #finish() {
    const { status, headers, pieces } = this.#answer;
    this.#complete.push({ status, headers, body: Buffer.concat(pieces) });
    this.#answer = null;
    this.#next = this.#head;
  }

  /** Takes of the body what is there; true when it is whole. */
  #bytes() {
    const piece = this.#take(Math.min(this.#left, this.#rest.length));
    if (piece.length > 0) this.#answer.pieces.push(piece);
    this.#left -= piece.length;
    return this.#left === 0;
  }

  #line() {
    const end = this.#rest.indexOf('\r\n');
    return end < 0 ? null : this.#take(end + 2).toString('latin1', 0, end);
  }

  #take(length) {
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }
}
