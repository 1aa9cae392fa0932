// The theme opens its menus by clicks on elements that the keyboard cannot reach. This makes them keyboard buttons.
(() => {
  const NATIVE = "a[href], button, input, select, textarea, summary";
  const FOCUSABLE = `${NATIVE}, [tabindex="0"]`;
  const LABELS = [
    [/sidebar(Mobile|Desktop)Open/, "Menu"],
    [/openUserLinks/, "Your account"],
    [/openActionsId/, "More actions"],
    [/(filterOpen|openModal) = false/, "Close"],
  ];
  const visible = (element) => element.checkVisibility({ visibilityProperty: true });
  const first = (place) => place && [...place.querySelectorAll(FOCUSABLE)].find(visible);
  const openMenu = () => document.querySelector("[data-opens=sidebarMobileOpen][data-place=page]");

  const improve = (element) => {
    const action = element.getAttribute("x-on:click");
    if (element.dataset.opens !== undefined || element.matches(NATIVE)) return;
    const name = action.match(/(\w+) = !\1/)?.[1] ?? "";
    element.dataset.opens = name;
    element.dataset.place = element.closest("#nav-sidebar") ? "menu" : "page";
    element.tabIndex = 0;
    element.setAttribute("role", "button");
    const label = LABELS.find(([pattern]) => pattern.test(action))?.[1];
    if (label) element.setAttribute("aria-label", label);
    if (name && window.Alpine) window.Alpine.effect(() => element.setAttribute("aria-expanded", Boolean(window.Alpine.$data(element)[name])));
    element.addEventListener("keydown", (event) => {
      if (event.target !== element || (event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      element.click();
      setTimeout(() => follow(element)); // once the opened menu is shown
    });
  };

  // Move the focus into the opened menu, which comes before its opener in the page.
  const follow = (element) => {
    const opens = element.dataset.opens;
    if (opens === "openUserLinks") first(element.previousElementSibling)?.focus();
    if (opens === "sidebarMobileOpen") (element.dataset.place === "page" ? first(document.getElementById("nav-sidebar")) : openMenu())?.focus();
  };

  const close = (event) => {
    if (event.key !== "Escape") return;
    const opener = [...document.querySelectorAll("[data-opens][aria-expanded=true]")].find((element) =>
      element.dataset.opens === "openUserLinks" ? element.parentElement.contains(event.target)
        : element.dataset.opens === "sidebarMobileOpen" && element.dataset.place === "menu" && element.closest("#nav-sidebar").contains(event.target));
    if (!opener) return;
    opener.click();
    (opener.dataset.opens === "openUserLinks" ? opener : openMenu())?.focus();
  };

  const improveAll = (place) => {
    for (const element of place.querySelectorAll("[x-on\\:click]")) improve(element);
  };
  const start = () => {
    improveAll(document);
    new MutationObserver((changes) => {
      for (const change of changes) for (const node of change.addedNodes) if (node instanceof Element) {
        if (node.hasAttribute("x-on:click")) improve(node);
        improveAll(node);
      }
    }).observe(document.body, { childList: true, subtree: true });
    document.addEventListener("keydown", close);
  };
  if (document.readyState === "complete") start();
  else addEventListener("load", start); // Alpine has started by then
})();
