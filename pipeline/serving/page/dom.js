// The little that the page needs of the DOM. Texts only ever become text nodes.

export const $ = (id) => document.getElementById(id);

/** An element; `properties` are its attributes, or listeners where they are functions; children are elements or texts. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== "" && child !== false));
  return element;
}

/** A bar as long as a confidence, for the eye; the figure stands beside it for everybody. */
export function bar(permille) {
  const fill = h("span", {});
  fill.style.inlineSize = `${permille / 10}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, fill);
}

export const percent = (permille) => `${Math.round(permille / 10)} %`;
export const number = (count) => count.toLocaleString("en");

/** Says something to those who hear the page. */
export function announce(text) {
  $("announce").textContent = text;
}

/** Gives a file to the browser's downloads. */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
