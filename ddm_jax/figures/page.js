
"use strict";

// Numbers come before texts, and empty cells last whichever way a column is sorted.
function compare(a, b, sign) {
  const rank = (c) => (c.dataset.number !== undefined ? 0 : c.textContent.trim() ? 1 : 2);
  const kinds = rank(a) - rank(b);
  if (kinds || rank(a) === 2) return kinds;
  if (rank(a) === 0) return sign * (Number(a.dataset.number) - Number(b.dataset.number));
  return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows];
      rows.sort((a, b) => compare(a.cells[column], b.cells[column], sign));
      body.append(...rows);
    });
  });
}
