(() => {
  const viewer = document.currentScript.parentElement;
  const find = (selector) => viewer.querySelector(selector);
  const slices = [...viewer.querySelectorAll(".slice")];
  const which = find(".which"), divider = find(".divider"), stage = find(".stage");
  const sides = ["left", "right"].map((side, k) => ({
    choice: find(`select.${side}`),
    image: find(`img.${side}`),
    text: viewer.querySelectorAll(".numbers-of span")[k],
  }));
  const pictures = () => [...slices[which.value - 1].querySelectorAll("img")];

  function show() {
    const title = slices[which.value - 1].querySelector("p").textContent;
    find("output").textContent = `${which.value} of ${slices.length}: ${title}`;
    for (const { choice, image, text } of sides) {
      const shown = pictures().find((picture) => picture.alt === choice.value);
      image.src = shown.src;
      image.alt = shown.alt;
      stage.style.width = `${shown.getAttribute("width")}px`;
      text.textContent = [shown.alt, shown.dataset.text].filter(Boolean).join(": ");
    }
    stage.style.setProperty("--divider", `${divider.value}%`);
  }

  function drag(event) {
    const box = stage.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    divider.value = Math.round(100 * share);
    show();
  }

  const names = pictures().map((picture) => picture.alt);
  for (const { choice } of sides) {
    choice.append(...names.map((name) => new Option(name, name)));
    choice.addEventListener("change", show);
  }
  const networks = names.filter((name) => !name.startsWith("error of "));
  sides[0].choice.value = networks[networks.length - 1];
  sides[1].choice.value = "target";
  for (const range of [which, divider]) range.addEventListener("input", show);
  find("button").addEventListener("click", () => {
    const values = sides.map(({ choice }) => choice.value);
    sides.forEach(({ choice }, k) => (choice.value = values[1 - k]));
    show();
  });
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (event.buttons) drag(event);
  });
  find(".controls").hidden = false;
  viewer.classList.add("live");
  show();
})();
