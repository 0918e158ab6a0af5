// Measures the frames of a page that embeds a report; the constant `unfold` is defined before.

function visibleRects(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  let rects = [...range.getClientRects()];
  // What is scrolled away in a box is neither seen nor in the way.
  for (let box = node.parentElement?.closest(".scroll"); box; box = box.parentElement.closest(".scroll")) {
    const edge = box.getBoundingClientRect();
    rects = rects.map(r => ({
      left: Math.max(r.left, edge.left), right: Math.min(r.right, edge.right), top: r.top, bottom: r.bottom,
    }));
  }
  return rects.filter(r => r.right - r.left > 1 && r.bottom - r.top > 1);
}

function isFolded(element) {
  const part = element.closest("details:not([open])");
  return part !== null && (element.closest("summary")?.parentElement !== part
    || isFolded(part.parentElement));
}

function texts(root) {
  const found = [];
  const walker = root.ownerDocument.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest("title, style, script") || isFolded(parent)) continue;
    // Cells that stay in place while others are scrolled below them.
    const sticky = getComputedStyle(parent.closest("th, td") || parent).position === "sticky";
    for (const rect of visibleRects(node)) found.push({ node, rect, sticky });
  }
  return found;
}

function overlaps(found) {
  const pairs = [];
  found.sort((a, b) => a.rect.top - b.rect.top);
  for (let i = 0; i < found.length; i++) {
    const a = found[i].rect;
    for (let j = i + 1; j < found.length && found[j].rect.top < a.bottom - 2.5; j++) {
      const b = found[j].rect;
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - b.top;
      if (across > 1.5 && down > 2.5 && !found[i].sticky && !found[j].sticky) {
        pairs.push([found[i].node.data.trim(), found[j].node.data.trim()]);
      }
    }
  }
  return pairs;
}

function leaves(inner, outer, slack) {
  return inner.left < outer.left - slack || inner.right > outer.right + slack
    || inner.top < outer.top - slack || inner.bottom > outer.bottom + slack;
}

function measureFrame(frame) {
  const page = frame.contentDocument, root = page.documentElement;
  if (unfold) page.querySelectorAll("details").forEach(part => { part.open = true; });
  const found = texts(page.body);
  const svgTexts = [...page.querySelectorAll("svg text")];
  const cut = svgTexts.filter(
    text => leaves(text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect(), 1));
  const whiskers = [...page.querySelectorAll(".track > span")].filter(
    span => leaves(span.getBoundingClientRect(), span.parentElement.getBoundingClientRect(), 8));
  const [red] = frame.contentWindow.getComputedStyle(page.body).backgroundColor.match(/\d+/g);
  return {
    wider: root.scrollWidth - root.clientWidth,
    overlaps: overlaps(found).slice(0, 20),
    cut: cut.map(text => text.textContent).slice(0, 20),
    outside: whiskers.length,
    dark: Number(red) < 128,
    texts: found.length,
  };
}

addEventListener("load", () => {
  const measured = [...document.querySelectorAll("iframe")].map(measureFrame);
  document.getElementById("out").textContent = JSON.stringify(measured);
});
