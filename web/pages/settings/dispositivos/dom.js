// Builds elements, and changes what is on the page into them without losing focus.

/** Make an element, without attributes and children that are null or false. */
export function h(tag, attributes = {}, ...children) {
  const kind = tag === "svg" || tag === "path" ? "2000/svg" : "1999/xhtml";
  const node = document.createElementNS(`http://www.w3.org/${kind}`, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return node;
}

/** Make the children of `parent` look like `wanted`; those with an id are known by it. */
export function show(parent, ...wanted) {
  const here = new Set(parent.childNodes);
  const pairs = wanted.flat().filter(Boolean).map((node) => {
    const same = [...here].find((one) => one.nodeName === node.nodeName && one.id === node.id);
    here.delete(same);
    return [same, node];
  });
  for (const gone of here) gone.remove();
  let at = parent.firstChild;
  for (const [same, node] of pairs) {
    if (!same) parent.insertBefore(node, at);
    else if (same === at) at = at.nextSibling;
    else parent.insertBefore(same, at);
    if (same) change(same, node);
  }
}

function change(here, wanted) {
  if (here.nodeType === Node.TEXT_NODE) {
    if (here.data !== wanted.data) here.data = wanted.data;
    return;
  }
  // Whether details stay open is the member's business.
  const ours = (attributes) => [...attributes].filter(({ name }) => name !== "open");
  for (const { name } of ours(here.attributes)) {
    if (!wanted.hasAttribute(name)) here.removeAttribute(name);
  }
  for (const { name, value } of ours(wanted.attributes)) {
    if (here.getAttribute(name) !== value) here.setAttribute(name, value);
  }
  show(here, [...wanted.childNodes]);
}
