// Elements in one call. Children are elements or text; text stays text, whatever is in it.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: `on...` attributes are listeners, `style` an object of properties; what is null or false is left out. */
export const h = (name, attributes, ...children) => filled(document.createElement(name), attributes, children);

/** An SVG element likewise. */
export const svg = (name, attributes, ...children) => filled(document.createElementNS(SVG, name), attributes, children);

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [property, of] of Object.entries(value)) element.style.setProperty(property, of);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let made = 0;

/** An id that no other element has. */
export const newId = (kind) => `${kind}-${++made}`;
