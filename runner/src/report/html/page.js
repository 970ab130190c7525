// The filter and the copy buttons. All is there to be read without them.
(() => {
  const bar = document.getElementById("filter");
  const field = bar.querySelector("input"), found = bar.querySelector("output");
  const buttons = [...bar.querySelectorAll("button")];
  const results = [...document.querySelectorAll("[data-case]")];
  const texts = results.map((result) => result.textContent.toLowerCase());
  const groups = [...document.querySelectorAll("details.group, section.attention")];
  const before = groups.map((group) => group.open);
  const pressed = (button) => button.getAttribute("aria-pressed") === "true";
  const apply = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = buttons.filter(pressed).map((it) => it.dataset.show);
    const active = words.length > 0 || wanted.length > 0;
    let count = 0;
    results.forEach((result, at) => {
      const shown = (!wanted.length || wanted.includes(result.dataset.verdict)) &&
        words.every((word) => texts[at].includes(word));
      result.hidden = !shown;
      count += shown ? Number(result.dataset.times) : 0;
    });
    groups.forEach((group, at) => {
      group.hidden = active && !group.querySelector("[data-case]:not([hidden])");
      if ("open" in group) group.open = active || before[at];
    });
    found.textContent = active ? `${count} shown` : "";
  };
  field.addEventListener("input", apply);
  buttons.forEach((button) => button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(!pressed(button)));
    apply();
  }));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const code = button.previousElementSibling;
    const select = () => getSelection().selectAllChildren(code);
    const said = (text) => { button.textContent = text; };
    if (!navigator.clipboard) { select(); said("selected"); return; }
    navigator.clipboard.writeText(code.textContent).then(() => said("copied"), () => { select(); said("selected"); });
  });
  document.querySelectorAll("button.copy").forEach((button) => { button.hidden = false; });
  bar.hidden = false;
})();
