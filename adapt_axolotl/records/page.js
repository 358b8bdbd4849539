// Values under the pointer. Without this the page still has all of them: titles, legend and table.
const run = JSON.parse(document.getElementById("run").textContent);
const end = run.edges[run.edges.length - 1];
const percent = (share) => (100 * share).toFixed(1) + "%";
const tokens = (count) => count.toLocaleString("en");

function follow(figure, show) {
  const plot = figure.querySelector(".plot");
  const readout = figure.querySelector(".readout");
  const cursor = plot.appendChild(document.createElement("div"));
  cursor.className = "cursor";
  const said = readout.textContent;
  const light = (task) => {
    for (const path of plot.querySelectorAll("path"))
      path.classList.toggle("lit", path.dataset.task === String(task));
  };
  const leave = () => {
    cursor.hidden = true;
    readout.textContent = said;
    light(-1);
    for (const one of figure.querySelectorAll(".legend b")) one.textContent = one.dataset.said;
  };
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const x = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const y = Math.min(1, Math.max(0, 1 - (event.clientY - box.top) / box.height));
    cursor.hidden = false;
    cursor.style.left = 100 * x + "%";
    const [task, text] = show(x * end, y, event.target.dataset.task);
    readout.textContent = text;
    light(task);
  });
  plot.addEventListener("pointerleave", leave);
  for (const one of figure.querySelectorAll(".legend b")) one.dataset.said = one.textContent;
  leave();
}

const mixture = document.getElementById("mixture");
follow(mixture, (at, _, task) => {
  let span = 0;
  while (span + 2 < run.edges.length && run.edges[span + 1] <= at) span += 1;
  const shareOf = (tasks) => tasks.reduce((sum, one) => sum + run.shares[one][span], 0);
  for (const one of mixture.querySelectorAll(".legend b"))
    one.textContent = percent(shareOf(one.dataset.tasks.split(" ").map(Number)));
  const place = `${tokens(run.edges[span])} to ${tokens(run.edges[span + 1])} tokens`;
  if (task === undefined) return [-1, place];
  return [task, `${place}: ${run.tasks[task]} ${percent(run.shares[task][span])}`];
});

const losses = document.getElementById("losses");
if (losses) {
  const top = Number(losses.dataset.top);
  // The loss that a line shows at a number of tokens, between the points that were measured.
  const between = (points, at) => {
    const next = points.findIndex(([place]) => place >= at);
    if (next <= 0) return next === 0 ? points[0][1] : points[points.length - 1][1];
    const [[x0, y0], [x1, y1]] = [points[next - 1], points[next]];
    return x1 === x0 ? y1 : y0 + ((y1 - y0) * (at - x0)) / (x1 - x0);
  };
  follow(losses, (at, y) => {
    const far = run.losses.map((points) =>
      points.length ? Math.abs(between(points, at) / top - y) : Infinity);
    const task = far.indexOf(Math.min(...far));
    const near = run.losses[task].reduce((best, one) =>
      Math.abs(one[0] - at) < Math.abs(best[0] - at) ? one : best);
    return [task, `${run.tasks[task]}: ${near[1].toFixed(3)} at ${tokens(near[0])} tokens`];
  });
}
