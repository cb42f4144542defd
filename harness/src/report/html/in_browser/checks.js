// What is wrong with the page as it is shown now, as sentences: contrast (WCAG 2.2, 1.4.3), order of headings, names and
// targets of what is operated (2.5.8), ids, what runs over the side. Names are looked up in Chromium's own tree as well.
(() => {
  const faults = [];
  const root = document.querySelector("dialog[open]") ?? document.body;
  const parse = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = color.map((value) => { const c = value / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  // A text of a drawing stands on the last shape before it that is filled and holds it.
  const under = (text) => {
    const at = text.getBBox();
    let found = behind(text.ownerSVGElement);
    for (const shape of text.ownerSVGElement.querySelectorAll("rect")) {
      if (!(shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING)) continue;
      const box = shape.getBBox();
      const fill = getComputedStyle(shape).fill;
      const holds = box.x <= at.x && box.y <= at.y + at.height / 2 && box.x + box.width >= at.x + at.width / 2 && box.y + box.height >= at.y + at.height / 2;
      if (holds && fill !== "none") found = parse(fill).slice(0, 3);
    }
    return found;
  };
  const seen = new Set();
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || seen.has(element) || element.closest("style, script, option, title, desc")) continue;
    seen.add(element);
    if (!element.checkVisibility()) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const isDrawn = element instanceof SVGElement;
    const ratio = contrast(parse(isDrawn ? style.fill : style.color).slice(0, 3), isDrawn ? under(element) : behind(element));
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if (ratio < least) faults.push(`contrast ${ratio.toFixed(2)} of “${element.textContent.trim().slice(0, 40)}” (${element.tagName} ${element.getAttribute("class")})`);
  }
  if (texts < 10) faults.push(`only ${texts} texts were looked at`);

  let level = 0;
  for (const heading of document.querySelectorAll("main :is(h1, h2, h3, h4)")) {
    if (!heading.checkVisibility()) continue;
    const own = Number(heading.tagName[1]);
    if (own > level + 1) faults.push(`${heading.tagName} “${heading.textContent.slice(0, 40)}” follows h${level}`);
    level = own;
  }
  if (document.querySelectorAll("h1").length !== 1) faults.push("there is not one h1");
  if (!document.documentElement.lang) faults.push("the page has no language");

  for (const one of root.querySelectorAll(".matrix a, button, select")) {
    const box = one.getBoundingClientRect();
    if (one.checkVisibility() && (box.width < 24 || box.height < 24)) faults.push(`a target of ${box.width} × ${box.height}: ${one.outerHTML.slice(0, 80)}`);
  }
  for (const mark of root.querySelectorAll(".matrix a, .mark")) {
    if (!mark.textContent.trim()) faults.push(`told by colour alone: ${mark.outerHTML.slice(0, 80)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  if (new Set(ids).size !== ids.length) faults.push("an id is there twice");
  const over = document.documentElement.scrollWidth - innerWidth;
  if (over > 0) faults.push(`the page is ${over} px wider than the window`);
  const inside = document.getElementById("inside");
  if (inside.scrollWidth > inside.clientWidth) faults.push(`the panel's content is ${inside.scrollWidth - inside.clientWidth} px too wide`);
  return faults;
})()
