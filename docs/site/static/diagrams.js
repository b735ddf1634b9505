// Draws a page's diagrams in the colours of its theme, and again when the reader changes the theme.
(() => {
  const diagrams = [...document.querySelectorAll("pre.mermaid")].map((text) => {
    const drawing = document.createElement("div");
    drawing.className = "drawing";
    return { text, drawing, source: text.textContent };
  });
  let drawn = Promise.resolve();

  async function draw() {
    const theme = document.documentElement.dataset.theme === "dark" ? "dark" : "neutral";
    mermaid.initialize({ startOnLoad: false, theme, fontFamily: getComputedStyle(document.body).fontFamily });
    for (const [number, { text, drawing, source }] of diagrams.entries()) {
      drawing.innerHTML = (await mermaid.render(`diagram-${number}`, source)).svg;
      text.replaceWith(drawing);
    }
  }

  function redraw() {
    drawn = drawn.then(draw);
  }

  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  redraw();
})();
