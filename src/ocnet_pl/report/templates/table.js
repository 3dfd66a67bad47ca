"use strict";
// Behaviour of a results page. Without it, everything can be read but not sorted, chosen or read off.

const number = (text) => { const found = /[-+]?\d+(\.\d+)?/.exec(text); return found ? Number(found[0]) : NaN; };

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const down = place > 0 ? heading.getAttribute("aria-sort") !== "descending" : heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.setAttribute("aria-sort", other === heading ? (down ? "descending" : "ascending") : "none"));
      const text = (row) => row.cells[place].firstChild?.textContent.trim() ?? "";
      const key = (row) => (place > 0 ? number(text(row)) : text(row));
      const sign = down ? -1 : 1;
      const sorted = [...body.rows].sort((one, two) => {
        const [a, b] = [key(one), key(two)];
        if (place === 0) return sign * a.localeCompare(b);
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);  // without a number: last
        return sign * (a - b);
      });
      body.append(...sorted);
    });
  });
}

const content = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");

for (const figure of document.querySelectorAll(".curve")) {
  const { left, right, top, bottom, low, high, curves } = content(figure.dataset.values);
  const box = figure.querySelector("div"), rule = document.createElement("i"), output = figure.querySelector("output");
  const steps = [...new Set(curves.flatMap((one) => one.steps))].sort((a, b) => a - b);
  if (!steps.length) continue;
  let place = steps.length - 1;
  const nearest = (list, step) => list.reduce((best, one, i) => (Math.abs(one - step) < Math.abs(list[best] - step) ? i : best), 0);
  rule.hidden = true;
  box.append(rule);
  function show(at) {
    place = Math.max(0, Math.min(steps.length - 1, at));
    const step = steps[place];
    rule.hidden = false;
    Object.assign(rule.style, {
      left: `${100 * (left + (right - left) * (step - low) / (high - low))}%`, top: `${100 * top}%`, height: `${100 * (bottom - top)}%`,
    });
    const found = curves.map((one) => [one, nearest(one.steps, step)]).filter(([one, i]) => one.mean[i] !== null);
    found.sort(([a, i], [b, j]) => b.mean[j] - a.mean[i]);
    output.replaceChildren(`Step ${step}: `, ...found.map(([one, i]) => {
      const sd = one.sd && one.sd[i] !== null ? ` ± ${one.sd[i]}` : "";
      const other = one.steps[i] === step ? "" : ` (step ${one.steps[i]})`;
      return Object.assign(document.createElement("span"), { textContent: `${one.label} ${one.mean[i]}${sd}${other}` });
    }));
  }
  box.addEventListener("pointermove", (event) => {
    const area = box.getBoundingClientRect();
    const share = ((event.clientX - area.left) / area.width - left) / (right - left);
    show(nearest(steps, low + share * (high - low)));
  });
  box.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
}

const confusion = content("confusion-values");
if (confusion) {
  const row = document.getElementById("confusion-row"), minus = document.getElementById("confusion-minus");
  const table = document.getElementById("confusion");
  function show() {
    const one = confusion.shares[row.value], two = minus.value === "" ? null : confusion.shares[minus.value];
    const values = one.map((line, i) => line.map((share, j) => (share === null ? null : two ? share - two[i][j] : share)));
    const largest = Math.max(...values.flatMap((line, i) => line.map((value, j) => (two || i !== j ? Math.abs(value) : 0))), 0.05);
    values.forEach((line, i) => line.forEach((value, j) => {
      const cell = table.tBodies[0].rows[i].cells[j + 1], shown = value === null ? "-" : value.toFixed(1);
      const zero = Number(shown) === 0;
      cell.textContent = value === null ? "-" : zero ? "0" : two && value > 0 ? `+${shown}` : shown;
      const good = two ? (i === j) === (value > 0) : i === j;
      cell.className = value === null || zero ? "" : good ? "gain" : "loss";
      cell.style.setProperty("--share", Math.min(1, Math.abs(value ?? 0) / largest).toFixed(3));
    }));
    document.getElementById("confusion-shown").textContent =
      two ? `${confusion.rows[row.value]} minus ${confusion.rows[minus.value]}, in points` : `${confusion.rows[row.value]}, in %`;
  }
  row.addEventListener("change", show);
  minus.addEventListener("change", show);
}
