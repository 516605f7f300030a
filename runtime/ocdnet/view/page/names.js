// The names of a picture set: a list of any length, of which only what is seen is asked for and drawn.

const ROW = 28;
const WINDOW = 200;
const MOST_WINDOWS = 20;

export class Names {
  /** `ask(start, count)` answers with a window; `choose(number)` is called for a row that is clicked. */
  constructor(list, rows, ask, choose) {
    Object.assign(this, { list, rows, ask, choose });
    this.reset(0);
    list.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(list);
  }

  reset(total) {
    this.total = total;
    this.windows = new Map();
    this.place = null;
    this.turn = (this.turn || 0) + 1;
    this.rows.style.height = `${total * ROW}px`;
    this.draw();
  }

  keep(start, rows) {
    this.windows.set(start / WINDOW, rows);
    if (this.windows.size > MOST_WINDOWS) this.windows.delete(this.windows.keys().next().value);
  }

  /** The row at a place: number, name, mistakes. */
  async row(place) {
    const window = Math.floor(place / WINDOW);
    if (!this.windows.has(window)) {
      const turn = this.turn;
      const answer = await this.ask(window * WINDOW, WINDOW);
      if (turn !== this.turn) return null;
      this.keep(window * WINDOW, answer.rows);
    }
    return this.windows.get(window)[place % WINDOW] || null;
  }

  select(place) {
    this.place = place;
    if (place !== null) {
      const [top, high] = [place * ROW, this.list.clientHeight];
      const from = this.list.scrollTop;
      if (top < from || top + ROW > from + high) this.list.scrollTop = top - high / 2;
    }
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - 5);
    const last = Math.min(this.total, first + Math.ceil(this.list.clientHeight / ROW) + 10);
    const drawn = [];
    const missing = new Set();
    for (let place = first; place < last; place++) {
      const window = this.windows.get(Math.floor(place / WINDOW));
      if (window) drawn.push(this.entry(place, window[place % WINDOW]));
      else missing.add(Math.floor(place / WINDOW));
    }
    this.rows.replaceChildren(...drawn);
    if (!this.total) this.rows.textContent = "No picture matches.";
    clearTimeout(this.waiting);
    // Where the list is dragged far, what is passed by is not asked for.
    if (missing.size) this.waiting = setTimeout(() => this.fetch([...missing]).catch(() => undefined), 60);
  }

  async fetch(missing) {
    const turn = this.turn;
    for (const window of missing) await this.row(window * WINDOW);
    if (turn === this.turn) this.draw();
  }

  entry(place, row) {
    const made = document.createElement("div");
    if (!row) return made;
    const [number, name, mistakes] = row;
    const part = (text, kind) => {
      const one = document.createElement("span");
      one.textContent = text;
      one.className = kind;
      return one;
    };
    made.style.top = `${place * ROW}px`;
    made.id = `row-${place}`;
    made.title = name;
    made.setAttribute("role", "option");
    made.setAttribute("aria-selected", String(place === this.place));
    if (place === this.place) this.list.setAttribute("aria-activedescendant", made.id);
    made.append(part(number + 1, "quiet"), part(name, "name"));
    if (mistakes) made.append(part(`${mistakes}\u00d7`, "quiet"));
    made.addEventListener("click", () => this.choose(number));
    return made;
  }
}
