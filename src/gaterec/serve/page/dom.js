// Elements in one call. Children are elements or text; text stays text, whatever is in it, and its control characters are shown as escapes.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: `on...` attributes are listeners, `style` an object of properties; what is null or false is left out. */
export const h = (name, attributes, ...children) => filled(document.createElement(name), attributes, children);

/** An SVG element likewise. */
export const svg = (name, attributes, ...children) => filled(document.createElementNS(SVG, name), attributes, children);

const HIDDEN = /(?!\n)[\p{Cc}\p{Cs}\p{Bidi_Control}\p{Noncharacter_Code_Point}\u2028\u2029\ufeff\ufff9-\ufffb]/gu;

/** The text with control characters as escapes, as gaterec.output.visible has them: \x1b for ESC. */
export const visible = (text) =>
  text.replace(HIDDEN, (letter) => {
    const code = letter.codePointAt(0);
    const [mark, digits] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
    return `\\${mark}${code.toString(16).padStart(digits, "0")}`;
  });

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [property, of] of Object.entries(value)) element.style.setProperty(property, of);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(
    ...children
      .flat()
      .filter((child) => child !== null && child !== undefined && child !== false)
      .map((child) => (typeof child === "string" ? visible(child) : child)),
  );
  return element;
}

let made = 0;

/** An id that no other element has. */
export const newId = (kind) => `${kind}-${++made}`;
