for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const key = row => { const text = row.cells[column].textContent, value = parseFloat(text.replace(/^< /, "")); return isNaN(value) ? text : value; };
    const order = (a, b) => typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
    [...body.rows].sort((a, b) => direction * order(key(a), key(b))).forEach(row => body.append(row));
  }));
}
const board = document.getElementById("board"), chooser = document.getElementById("chooser");
[...board.tHead.rows[0].cells].forEach((head, column) => {
  if (column < Number(board.dataset.firstColumns)) return;
  const label = document.createElement("label"), box = document.createElement("input");
  box.type = "checkbox";
  const show = () => [...board.rows].forEach(row => row.cells[column].hidden = !box.checked);
  box.addEventListener("change", show);
  label.append(box, " " + head.textContent);
  chooser.append(label);
  show();
});
document.getElementById("search").addEventListener("input", event => {
  const wanted = event.target.value.toLowerCase();
  for (const row of board.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
});
const charts = document.querySelectorAll(".plotly-graph-div"), dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 40rem)");
for (const menu of document.querySelectorAll("select.views")) {
  const section = menu.closest("section");
  menu.addEventListener("change", () => {
    const view = menu.selectedOptions[0];
    Plotly.restyle(section.querySelector(".plotly-graph-div"), { visible: JSON.parse(view.dataset.shown) });
    section.querySelector("figcaption").textContent = view.dataset.description;
  });
}
function colour(isDark) {
  const [ink, line, paper] = isDark ? ["#e6edf3", "#30363d", "#0d1117"] : ["#1b1f24", "#e3e8ee", "#ffffff"];
  for (const chart of charts) {
    const black = chart.data.flatMap((trace, index) => ["#000000", "#ffffff"].includes(trace.line?.color) ? [index] : []);
    const axes = Object.keys(chart.layout).filter(name => /^[xy]axis/.test(name)), parts = ["gridcolor", "zerolinecolor"];
    const lines = Object.fromEntries(axes.flatMap(axis => parts.map(part => [`${axis}.${part}`, line])));
    Plotly.relayout(chart, { "font.color": ink, paper_bgcolor: paper, plot_bgcolor: paper, ...lines });
    if (black.length) Plotly.restyle(chart, { "line.color": isDark ? "#ffffff" : "#000000", "marker.color": isDark ? "#ffffff" : "#000000" }, black);
  }
}
function fit() {
  for (const chart of charts) {
    if (!chart.layout.meta) continue;
    const layout = narrow.matches ? chart.layout.meta.narrow : chart.layout.meta.wide;
    chart.style.height = chart.parentElement.style.height = `${layout.height}px`;
    Plotly.relayout(chart, layout);
  }
}
if (dark.matches) colour(true);
dark.addEventListener("change", () => colour(dark.matches));
if (narrow.matches) fit();
narrow.addEventListener("change", fit);

const shown = JSON.parse(document.getElementById("gallery").textContent), part = name => document.getElementById(`viewed-${name}`);
const words = text => text.replaceAll("_", " ");
function fill(menu, names) {
  const before = menu.value;
  menu.replaceChildren(...names.map(name => new Option(words(name), name)));
  if (names.includes(before)) menu.value = before;
}
function view() {
  const corruptions = shown[part("set").value];
  fill(part("corruption"), Object.keys(corruptions).filter(name => name !== "clean"));
  const severities = corruptions[part("corruption").value] ?? {};
  fill(part("severity"), Object.keys(severities));
  const what = `${part("set").value}, ${words(part("corruption").value)}, severity ${part("severity").value}`;
  part("clean").src = corruptions.clean["0"];
  part("clean").alt = `${part("set").value}, clean`;
  part("corrupted").src = severities[part("severity").value] ?? corruptions.clean["0"];
  part("corrupted").alt = what;
  part("caption").textContent = `Clean; and ${what}`;
}
fill(part("set"), Object.keys(shown));
document.getElementById("viewer").addEventListener("change", view);
if (part("set").value) view();

addEventListener("beforeprint", () => {
  document.querySelectorAll("details:not(.screen, .models)").forEach(part => part.open = true);
  if (dark.matches) colour(false);
  charts.forEach(chart => Plotly.relayout(chart, { autosize: false, width: chart.closest(".first") ? 600 : 1000 }));
});
addEventListener("afterprint", () => {
  if (dark.matches) colour(true);
  charts.forEach(chart => Plotly.relayout(chart, { autosize: true, width: null }));
});
