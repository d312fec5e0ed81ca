// Painting raw maps by the formulas of torchattr.show; nothing here uses the server.

const f32 = Math.fround;

/** Round halves to even, as NumPy does. */
function rint(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

// Maps are float32 and are summed in double precision; see torchattr/core/rounding.py.
const TERM = 2 * 2 ** -23;

/** Return a sum, or zero where it may be a rounding error only. */
const settled = (total, size, additions) =>
  Math.abs(total) < (TERM + additions * Number.EPSILON) * size ? 0 : total;

/** Reduce channels (C, n) to (1, n). */
export function reduceChannels(values, channels, how) {
  const n = values.length / channels;
  if (how === "luma" && channels !== 3 && channels !== 1) throw new Error("Luma requires one or three channels.");
  if (how === "luma" && channels === 1) return values;
  if (how === "deviation") return fromMean(values, channels, n);
  return Float32Array.from({ length: n }, (_, i) => REDUCE[how](values, channels, n, i));
}

function fromMean(values, channels, n) {
  const sums = Array.from({ length: n }, (_, i) => weighed(values, channels, n, i, () => 1));
  const mean = (kind) => sums.reduce((sum, pixel) => sum + pixel[kind], 0) / n;
  const total = mean("total");
  const size = mean("size");
  return Float32Array.from(sums, (pixel) => settled(pixel.total - total, pixel.size + size, channels));
}

const LUMA = [0.299, 0.587, 0.114];

const REDUCE = {
  sum: total,
  mean: (values, channels, n, i) => total(values, channels, n, i) / channels,
  luma: (values, channels, n, i) => total(values, channels, n, i, (c) => LUMA[c]),
  max_abs: largestAt,
  l2: (values, channels, n, i) => {
    const scale = largestAt(values, channels, n, i);
    if (scale === 0) return 0;
    let sum = 0;
    for (let c = 0; c < channels; c++) sum = f32(sum + f32(f32(values[c * n + i] / scale) ** 2));
    return f32(f32(Math.sqrt(sum)) * scale);
  },
};

function total(values, channels, n, i, weight = () => 1) {
  const sum = weighed(values, channels, n, i, weight);
  return settled(sum.total, sum.size, channels);
}

/** Return the weighted sum of the channels at one pixel, and the sum of its terms' magnitudes. */
function weighed(values, channels, n, i, weight) {
  let total = 0;
  let size = 0;
  for (let c = 0; c < channels; c++) {
    const term = weight(c) * values[c * n + i];
    total += term;
    size += Math.abs(term);
  }
  return { total, size };
}

function largestAt(values, channels, n, i) {
  let largest = 0;
  for (let c = 0; c < channels; c++) largest = Math.max(largest, Math.abs(values[c * n + i]));
  return largest;
}

/** For each of n pixels, the cells of a map that it interpolates, with weights; null outside the map. */
function weights(n, cells, start, stop) {
  const step = (stop - start) / cells;
  const reach = Math.max(1, 1 / step);
  return Array.from({ length: n }, (_, pixel) => {
    const centre = pixel + 0.5;
    if (!(centre > start && centre < stop)) return null;
    const nearest = Math.min(Math.max((centre - start) / step - 0.5, 0), cells - 1);
    const first = Math.max(0, Math.ceil(nearest - reach));
    const last = Math.min(cells - 1, Math.floor(nearest + reach));
    const values = [];
    let sum = 0;
    for (let cell = first; cell <= last; cell++) {
      const weight = Math.max(0, 1 - Math.abs(nearest - cell) / reach);
      sum += weight;
      values.push(weight);
    }
    return { first, weights: values.map((weight) => weight / sum) };
  });
}

/** Resample maps (C, h, w) to a picture of width × height pixels; NaN outside the map. */
export function resample(values, [channels, h, w], box, width, height) {
  const rows = weights(height, h, box[1], box[3]);
  const columns = weights(width, w, box[0], box[2]);
  const out = new Float32Array(channels * width * height).fill(NaN);
  const line = new Float64Array(w);
  const sizes = new Float64Array(w);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      if (rows[y] === null) continue;
      line.fill(0);
      sizes.fill(0);
      rows[y].weights.forEach((weight, k) => {
        const from = (c * h + rows[y].first + k) * w;
        for (let x = 0; x < w; x++) {
          line[x] += weight * values[from + x];
          sizes[x] += weight * Math.abs(values[from + x]);
        }
      });
      for (let x = 0; x < width; x++) {
        if (columns[x] === null) continue;
        const { first, weights: own } = columns[x];
        let sum = 0;
        let size = 0;
        for (let k = 0; k < own.length; k++) {
          sum += own[k] * line[first + k];
          size += own[k] * sizes[first + k];
        }
        out[(c * height + y) * width + x] = settled(sum, size, own.length + rows[y].weights.length);
      }
    }
  }
  return out;
}

const KEEP = {
  positive: (value) => Math.max(value, 0),
  negative: (value) => Math.max(-value, 0),
  absolute: Math.abs,
  all: (value) => value,
};

/** Scale values for display; returns them with the scale, which is 0 if all of them are zero. */
export function rescale(values, sign, percentile) {
  const kept = Float32Array.from(values, KEEP[sign]);
  const scale = f32(scaleOf(kept, percentile));
  const low = sign === "all" ? -1 : 0;
  const scaled = kept.map((value) => (scale === 0 ? value * 0 : Math.min(1, Math.max(low, f32(value / scale)))));
  return { scaled, scale };
}

function scaleOf(values, percentile) {
  let largest = 0;
  for (const value of values) if (Math.abs(value) > largest) largest = Math.abs(value);
  if (percentile >= 100 || largest === 0) return largest;
  const known = values.filter((value) => !Number.isNaN(value)).map(Math.abs).sort();
  const at = (known.length - 1) * percentile / 100;
  const low = Math.floor(at);
  const high = Math.min(low + 1, known.length - 1);
  return known[low] + (known[high] - known[low]) * (at - low) || largest;
}

/** Return the index into a table of 256 colours. */
export function colourIndex(value, diverging) {
  const unit = diverging ? f32(f32(value + 1) / 2) : value;
  return rint(f32(Math.min(1, Math.max(0, unit)) * 255));
}

/** Decode the colour tables, which the server sends in hexadecimal. */
export function readTables(colours) {
  const read = (text) => Uint8Array.from(text.match(/../g), (two) => parseInt(two, 16));
  return {
    ...colours,
    tables: Object.fromEntries(Object.entries(colours.tables).map(([name, text]) => [name, read(text)])),
  };
}

export const isDiverging = (colours, name) => colours.diverging.includes(name);

/**
 * Paint a map on a picture, as torchattr.show.styles does.
 *
 * map: { values, shape: [C, h, w], box } with the box in pixels of the picture.
 * picture: { width, height, data } with RGBA bytes.
 * Returns { data, scale, span }: RGBA bytes, the value of the strongest colour, and the ends of the colour bar.
 */
export function paint(map, style, picture, colours) {
  const { width, height } = picture;
  const colour = style.kind === "color";
  const channels = colour ? map.shape[0] : 1;
  const reduced = colour ? map.values : reduceChannels(map.values, map.shape[0], style.channels);
  const placed = resample(reduced, [channels, map.shape[1], map.shape[2]], map.box, width, height);
  const { data, scale } = painted(placed, channels, style, picture, colours);
  return { data, scale, span: scale === 0 ? [0, 0] : span(reduced, style.sign) };
}

/** Paint values that are reduced and as large as the picture. */
function painted(values, channels, style, picture, colours) {
  const { scaled, scale } = rescale(values, style.sign, style.percentile);
  const ink = { color: tinted, heat, overlay }[style.kind](scaled, channels, style, colours, picture);
  const data = new Uint8ClampedArray(picture.width * picture.height * 4);
  for (let i = 0; i < picture.width * picture.height; i++) {
    const unknown = Number.isNaN(scaled[i]);
    for (let c = 0; c < 3; c++) {
      const below = picture.data[4 * i + c];
      data[4 * i + c] = unknown ? rint(below + (255 - below) * colours.fade) : ink(i, c);
    }
    data[4 * i + 3] = 255;
  }
  return { data, scale };
}

/** The ends of the colour bar of reduced values, -1, 0 or 1: no colour that is not drawn; see Style.span. */
function span(values, sign) {
  const [negative, positive] = [values.some((value) => value < 0), values.some((value) => value > 0)];
  if (sign === "all") return [negative ? -1 : 0, positive ? 1 : 0];
  return [0, Number({ positive, negative, absolute: negative || positive }[sign])];
}

/** Paint the colour bar between the ends of a span as RGBA bytes, as drawn over a grey picture; see Style.bar. */
export function paintBar([low, high], style, channels, colours, width, height) {
  // A stripe for each colour, since no pixel of such a map needs to be grey.
  const stripes = style.kind === "color" && channels === 3 ? 3 : 1;
  const values = new Float32Array(stripes * width * height);
  for (let y = 0; y < height; y++) {
    const stripe = Math.floor(y * stripes / height);
    for (let x = 0; x < width; x++) {
      const value = low + (high - low) * x / (width - 1);
      values[(stripe * height + y) * width + x] = style.sign === "negative" ? -value : value;
    }
  }
  const grey = { width, height, data: new Uint8ClampedArray(4 * width * height).fill(128) };
  return painted(values, stripes, style, grey, colours).data;
}

function tinted(scaled, channels, style) {
  const n = scaled.length / channels;
  const of = (i, c) => scaled[(channels === 1 ? 0 : c) * n + i];
  if (style.sign === "all") return (i, c) => rint(f32(f32(of(i, c) * 127.5) + 127.5));
  return (i, c) => rint(f32(of(i, c) * 255));
}

function heat(scaled, channels, style, colours) {
  const table = colours.tables[style.cmap];
  const diverging = isDiverging(colours, style.cmap);
  return (i, c) => table[3 * colourIndex(scaled[i], diverging) + c];
}

function overlay(scaled, channels, style, colours, picture) {
  const colour = heat(scaled, channels, style, colours);
  const beneath = dimmed(picture, style, colours);
  return (i, c) => {
    const opacity = f32(f32(style.alpha) * Math.abs(scaled[i]));
    const below = beneath(i, c);
    return rint(below + (colour(i, c) - below) * opacity);
  };
}

/** Return the picture with less colour, closer to the grey of the colormap's zero. */
function dimmed({ data }, { dim, cmap }, colours) {
  const table = colours.tables[cmap];
  const zero = luma(table, isDiverging(colours, cmap) ? 3 * 128 : 0);
  const grey = 1 - (1 - dim) ** 2;
  return (i, c) => {
    const muted = data[4 * i + c] + (luma(data, 4 * i) - data[4 * i + c]) * grey;
    return muted + (zero - muted) * dim;
  };
}

const luma = (bytes, at) => LUMA[0] * bytes[at] + LUMA[1] * bytes[at + 1] + LUMA[2] * bytes[at + 2];

/** Paint one feature map (h, w) with a given scale, as RGBA bytes. */
export function paintPlane(values, scale, signed, cmap, colours) {
  const table = colours.tables[cmap];
  const diverging = isDiverging(colours, cmap);
  const data = new Uint8ClampedArray(values.length * 4);
  for (let i = 0; i < values.length; i++) {
    const kept = signed ? values[i] : Math.max(values[i], 0);
    const scaled = scale === 0 ? 0 : Math.min(1, Math.max(signed ? -1 : 0, f32(kept / scale)));
    const at = 3 * colourIndex(scaled, diverging);
    data.set(table.subarray(at, at + 3), 4 * i);
    data[4 * i + 3] = 255;
  }
  return data;
}

/** Draw bytes on a canvas and resize it to them. */
export function onCanvas(canvas, data, width, height) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
}
