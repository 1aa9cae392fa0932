// Charts are drawn on a canvas, which style sheets cannot reach. This makes their texts follow the theme.
(() => {
  const paint = () => {
    const soft = getComputedStyle(document.documentElement).getPropertyValue("--c-soft").trim();
    for (const chart of Object.values(window.Chart?.instances ?? {})) {
      for (const part of [chart.options.plugins.legend.labels, ...Object.values(chart.options.scales).map((scale) => scale.ticks)]) part.color = soft;
      chart.update("none");
    }
  };
  addEventListener("load", () => {
    setTimeout(paint); // after the charts, which are drawn at the same event
    new MutationObserver(paint).observe(document.documentElement, { attributeFilter: ["class"] });
  });
})();
