// Weights as the kernels read them: panels of columns, and the 6 x 6 points of minimal filtering.

#pragma once

#include "points.h"
#include "product.h"

namespace {

// In double precision: minimal filtering lives on terms that cancel out.
typedef double Doubles __attribute__((vector_size(kLanes * sizeof(double))));

inline Doubles weighed(const double* by, Doubles first, Doubles second, Doubles third) {
  return first * by[0] + second * by[1] + third * by[2];
}

}  // namespace

extern "C" {

// Packs weights (outputs, inputs, 3, 3) for torchattr_winograd: (36, panels). A scale of each output
// may be null.
void torchattr_pack_winograd(const float* weights, const float* scale, int64_t outputs,
                             int64_t inputs, float* packed, int threads) {
  const int64_t columns = padded(outputs);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t n = 0; n < columns; n += kLanes) {
    const int64_t panel = n / kPanel * kPanel;
    const int64_t wide = columns - panel > kLanes ? kPanel : kLanes;
    const int64_t lanes = std::min<int64_t>(kLanes, outputs - n);
    for (int64_t c = 0; c < inputs; ++c) {
      Doubles taps[9] = {};
      for (int64_t lane = 0; lane < lanes; ++lane) {
        const float* from = weights + ((n + lane) * inputs + c) * 9;
        const float by = scale == nullptr ? 1.0f : scale[n + lane];
        for (int k = 0; k < 9; ++k) taps[k][lane] = double(from[k]) * by;
      }
      float* to = packed + panel * inputs + c * wide + n - panel;
      for (int i = 0; i < kPoints; ++i) {
        Doubles half[3];
        for (int k = 0; k < 3; ++k) half[k] = weighed(kWeights[i], taps[k], taps[3 + k], taps[6 + k]);
        for (int j = 0; j < kPoints; ++j) {
          const Doubles point = weighed(kWeights[j], half[0], half[1], half[2]);
          store(to + (i * kPoints + j) * inputs * columns, __builtin_convertvector(point, Vec));
        }
      }
    }
  }
}

// Packs weights (groups, outputs, inputs, taps) for torchattr_convolve: (groups, panels).
void torchattr_pack_product(const float* weights, const float* scale, int64_t groups,
                            int64_t outputs, int64_t inputs, int64_t taps, float* packed,
                            int threads) {
  const int64_t columns = padded(outputs), depth = inputs * taps;
  const int64_t panels = (columns + kPanel - 1) / kPanel;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t item = 0; item < groups * panels; ++item) {
    const int64_t group = item / panels, first = item % panels * kPanel;
    const int64_t wide = std::min(kPanel, columns - first);
    const int64_t filled = std::min(wide, outputs - first);
    const float* from = weights + (group * outputs + first) * depth;
    float* to = packed + (group * columns + first) * depth;
    float by[kPanel];
    std::fill(by, by + kPanel, 1.0f);
    if (scale != nullptr) std::copy_n(scale + group * outputs + first, filled, by);
    for (int64_t c = 0; c < inputs; ++c) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        float* row = to + (tap * inputs + c) * wide;
        for (int64_t n = 0; n < filled; ++n) row[n] = from[n * depth + c * taps + tap] * by[n];
        std::fill(row + filled, row + wide, 0.0f);
      }
    }
  }
}

}  // extern "C"
