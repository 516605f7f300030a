// What is asked of the server, and the last pictures that it sent.

const MOST_KEPT = 6;

export async function ask(path, query = {}, signal = undefined) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null);
  let response;
  try {
    response = await fetch(`${path}?${new URLSearchParams(given)}`, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The viewer does not answer: was it ended?"), { name: "Gone" });
  }
  if (response.ok) return response;
  const { error } = await response.json();
  throw new Error([error.message, error.hint].filter(Boolean).join("\n"));
}

export const json = async (...args) => (await ask(...args)).json();

export class Pictures {
  constructor() {
    this.kept = new Map();
  }

  /** A picture that was asked for lately, as `of` has it. */
  held(number) {
    return this.kept.get(number) || { problem: "It was let go" };
  }

  /** A picture's address and size, or why it can't be shown. */
  async of(number, signal) {
    const picture = this.kept.get(number) || (await this.fetched(number, signal));
    this.kept.delete(number);
    this.kept.set(number, picture);
    for (const old of [...this.kept.keys()].slice(0, -MOST_KEPT)) {
      URL.revokeObjectURL(this.kept.get(old).url);
      this.kept.delete(old);
    }
    return picture;
  }

  async fetched(number, signal) {
    try {
      const response = await ask(`picture/${number}`, {}, signal);
      const [width, height] = response.headers.get("X-Size").split("x").map(Number);
      return { url: URL.createObjectURL(await response.blob()), width, height };
    } catch (error) {
      if (["AbortError", "Gone"].includes(error.name)) throw error;
      return { problem: error.message };
    }
  }
}
