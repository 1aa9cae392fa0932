// A button with data-copies copies the text of the element that it names.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copies]");
  if (button) navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent).then(() => { button.textContent = "Copied"; });
});
