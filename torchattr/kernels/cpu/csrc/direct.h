// Any convolution as a matrix product: blocks of rows of window inputs times packed weights.

#pragma once

#include "product.h"

namespace {

constexpr int64_t kBlockRows = 8 * kRows;

// The inputs of a convolution's windows, as runs of adjacent values in memory: the channels of a
// tap, or with few channels the taps of a row of the kernel.
struct Seen {
  const Patches& x;
  const Window& window;
  int64_t groups;
  bool in_rows;
  int64_t channels, run, depth, step;

  Seen(const Patches& x, const Window& window, int64_t groups)
      : x(x), window(window), groups(groups), channels(x.channels / groups) {
    const int64_t row = window.extent[1] * channels;
    in_rows = groups == 1 && window.dilation[1] == 1 && channels < 32 && row <= kDepth;
    run = in_rows ? row : channels;
    depth = window.extent[0] * window.extent[1] * channels;
    const int64_t most = in_rows ? kDepth / run * run : kDepth;
    const int64_t steps = (depth + most - 1) / most;
    const int64_t even = in_rows ? run : std::min<int64_t>(16, most);
    step = std::min(most, ((depth + steps - 1) / steps + even - 1) / even * even);
  }

  void read_row(Place place, int64_t first, int64_t last, float* to) const {
    const int64_t right = place.right * window.stride[1] - window.padding[1];
    for (int64_t tap = first / run; tap * run < last; ++tap, to += run) {
      const int64_t down = place.down * window.stride[0] - window.padding[0] + tap * window.dilation[0];
      if (is_run(x, place.variant, down, right, window.extent[1])) {
        copy(to, pixel(x, place.variant, down, right), run);
        continue;
      }
      for (int64_t i = 0; i < window.extent[1]; ++i) {
        const float* from = pixel(x, place.variant, down, right + i);
        for (int64_t c = 0; c < channels; ++c) to[i * channels + c] = from == nullptr ? 0 : from[c];
      }
    }
  }

  void read_tap(Place place, int64_t group, int64_t first, int64_t last, float* to) const {
    while (first < last) {
      const int64_t tap = first / channels, from = first % channels;
      const int64_t count = std::min(channels - from, last - first);
      const float* values = pixel(
          x, place.variant,
          place.down * window.stride[0] - window.padding[0] + tap / window.extent[1] * window.dilation[0],
          place.right * window.stride[1] - window.padding[1] + tap % window.extent[1] * window.dilation[1]);
      if (values != nullptr) {
        copy(to, values + group * channels + from, count);
      } else {
        std::fill(to, to + count, 0.0f);
      }
      to += count;
      first += count;
    }
  }

  // Reads the depths from first to last of the window of a group.
  void read(Place place, int64_t group, int64_t first, int64_t last, float* to) const {
    in_rows ? read_row(place, first, last, to) : read_tap(place, group, first, last, to);
  }
};

// Computes rows of the result, and of each group's columns those from `left` to `right`.
inline void convolve_block(const Seen& seen, const Wanted& wanted, int64_t outputs,
                           const float* packed, const After& after, int64_t top, int64_t bottom,
                           int64_t left, int64_t right, float* rows) {
  const float* residual[kBlockRows];
  const int64_t columns = outputs / seen.groups;
  const Place start = place_of(wanted, top);
  Place place = start;
  for (int64_t row = top; after.residual != nullptr && row < bottom; ++row) {
    residual[row - top] = pixel(*after.residual, place.variant, place.down, place.right);
    advance(wanted, place);
  }
  for (int64_t group = 0; group < seen.groups; ++group) {
    const float* weights = packed + (group * padded(columns) + left) * seen.depth;
    for (int64_t first = 0; first < seen.depth; first += seen.step) {
      const int64_t last = std::min(seen.depth, first + seen.step);
      place = start;
      for (int64_t row = top; row < bottom; ++row) {
        seen.read(place, group, first, last, rows + (row - top) * kDistance);
        advance(wanted, place);
      }
      const int64_t column = group * columns + left;
      const Target target = {wanted.result + top * outputs + column,
                             outputs,
                             right - left,
                             first > 0,
                             last == seen.depth,
                             after.bias,
                             after.residual == nullptr ? nullptr : residual,
                             column,
                             after.lower,
                             after.upper};
      multiply_all(bottom - top, last - first, rows, weights, first, seen.depth, target,
                   last == seen.depth ? packed : weights + last * std::min(kPanel, padded(right - left)));
    }
  }
}

}  // namespace

extern "C" void torchattr_convolve(const Patches* x, const Wanted* wanted, const Window* window,
                                   int64_t groups, int64_t outputs, const float* packed,
                                   const After* after, int threads) {
  const Seen seen(*x, *window, groups);
  const int64_t columns = outputs / groups;
  const Cut cut(wanted->rows, kBlockRows, threads);
  // Few rows are also split by columns.
  const int64_t panels = (columns + kPanel - 1) / kPanel;
  const int64_t parts = cut.size >= kRows ? 1 : std::min<int64_t>(panels, threads);
  const int64_t part = (panels + parts - 1) / parts * kPanel;
#pragma omp parallel num_threads(threads)
  {
    thread_local Scratch scratch;
    float* rows = scratch.get<float>(kBlockRows * kDistance);
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < cut.count * parts; ++item) {
      const int64_t block = item / parts, left = item % parts * part;
      if (left >= columns) continue;
      convolve_block(seen, *wanted, outputs, packed, *after, cut.first(block), cut.last(block), left,
                     std::min(columns, left + part), rows);
    }
  }
}
