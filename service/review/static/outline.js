// A painted area as outlines: a mask on a grid, brushed with round strokes, and the closed lines around it.

const LONGEST = 512; // cells of the longer side
const MOST_POINTS = 300;

/** A grid over an image of that many rows and columns. */
export function makeMask(rows, columns) {
  const share = Math.min(1, LONGEST / Math.max(rows, columns));
  const width = Math.max(1, Math.round(columns * share)), height = Math.max(1, Math.round(rows * share));
  return { width, height, toX: columns / width, toY: rows / height, cells: new Uint8Array(width * height) };
}

/** Paint a round stroke between two points of the image. radius is in pixels of the image. */
export function paint(mask, from, to, radius) {
  const steps = Math.max(1, Math.ceil(Math.hypot((to.x - from.x) / mask.toX, (to.y - from.y) / mask.toY)));
  for (let step = 0; step <= steps; step += 1) {
    const x = (from.x + (to.x - from.x) * step / steps) / mask.toX, y = (from.y + (to.y - from.y) * step / steps) / mask.toY;
    const across = Math.max(.5, radius / mask.toX), down = Math.max(.5, radius / mask.toY);
    for (let row = Math.max(0, Math.floor(y - down)); row < Math.min(mask.height, Math.ceil(y + down)); row += 1) {
      for (let column = Math.max(0, Math.floor(x - across)); column < Math.min(mask.width, Math.ceil(x + across)); column += 1) {
        if (((column + .5 - x) / across) ** 2 + ((row + .5 - y) / down) ** 2 <= 1) mask.cells[row * mask.width + column] = 1;
      }
    }
  }
}

/** The outer lines of what was painted, as points of the image. Holes are filled. */
export function outlines(mask) {
  const inside = (column, row) => column >= 0 && row >= 0 && column < mask.width && row < mask.height
    && mask.cells[row * mask.width + column] === 1;
  const next = new Map(); // edges along the cells, the painted ones on the right
  const add = (x1, y1, x2, y2) => {
    const key = `${x1},${y1}`;
    (next.get(key) ?? next.set(key, []).get(key)).push([x2, y2]);
  };
  for (let row = 0; row < mask.height; row += 1) {
    for (let column = 0; column < mask.width; column += 1) {
      if (!inside(column, row)) continue;
      if (!inside(column, row - 1)) add(column, row, column + 1, row);
      if (!inside(column + 1, row)) add(column + 1, row, column + 1, row + 1);
      if (!inside(column, row + 1)) add(column + 1, row + 1, column, row + 1);
      if (!inside(column - 1, row)) add(column, row + 1, column, row);
    }
  }
  const lines = [];
  while (next.size) {
    const [start] = next.keys();
    const line = [];
    let at = start.split(",").map(Number);
    for (;;) {
      const key = at.join(",");
      const ways = next.get(key);
      if (!ways) break;
      line.push(at);
      at = ways.pop();
      if (!ways.length) next.delete(key);
    }
    if (area(line) > 2) lines.push(simplified(line.map(([x, y]) => [x * mask.toX, y * mask.toY]), Math.max(mask.toX, mask.toY)));
  }
  return lines;
}

/** Twice nothing, or the area on the right of a closed line: of a hole it is negative. */
function area(line) {
  let sum = 0;
  for (let place = 0; place < line.length; place += 1) {
    const [x1, y1] = line[place], [x2, y2] = line[(place + 1) % line.length];
    sum += x1 * y2 - x2 * y1;
  }
  return sum / 2;
}

/** The line with fewer points, none of them further than the tolerance from where it was (Douglas and Peucker). */
function simplified(line, tolerance) {
  for (let allowed = tolerance; ; allowed *= 1.5) {
    const half = Math.floor(line.length / 2);
    const kept = [...thinned(line.slice(0, half + 1), allowed).slice(0, -1), ...thinned([...line.slice(half), line[0]], allowed).slice(0, -1)];
    if (kept.length <= MOST_POINTS) return kept;
  }
}

function thinned(line, tolerance) {
  const keep = new Uint8Array(line.length);
  keep[0] = keep[line.length - 1] = 1;
  const open = [[0, line.length - 1]];
  while (open.length) {
    const [first, last] = open.pop();
    const [x1, y1] = line[first], [x2, y2] = line[last];
    const length = Math.hypot(x2 - x1, y2 - y1) || 1;
    let furthest = 0, place = -1;
    for (let one = first + 1; one < last; one += 1) {
      const away = Math.abs((x2 - x1) * (y1 - line[one][1]) - (x1 - line[one][0]) * (y2 - y1)) / length;
      if (away > furthest) [furthest, place] = [away, one];
    }
    if (furthest > tolerance) {
      keep[place] = 1;
      open.push([first, place], [place, last]);
    }
  }
  return line.filter((_, place) => keep[place]);
}
