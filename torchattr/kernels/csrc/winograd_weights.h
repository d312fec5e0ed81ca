// The weights of minimal filtering: those of 3 x 3 taps, transformed to its 6 x 6 points.

#pragma once

#include "points.h"
#include "product.h"

namespace {

inline Vec weighed(const double* by, const float* first, const float* second, const float* third) {
  return load(first) * float(by[0]) + load(second) * float(by[1]) + load(third) * float(by[2]);
}

}  // namespace

extern "C" {

// Packs weights (outputs, inputs, 3, 3) for torchattr_winograd: (36, panels).
void torchattr_pack_winograd(const float* weights, int64_t outputs, int64_t inputs, float* packed,
                             int threads) {
  const int64_t columns = padded(outputs);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t n = 0; n < columns; n += kLanes) {
    const int64_t panel = n / kPanel * kPanel;
    const int64_t wide = columns - panel > kLanes ? kPanel : kLanes;
    const int64_t lanes = std::min<int64_t>(kLanes, outputs - n);
    for (int64_t c = 0; c < inputs; ++c) {
      float taps[9][kLanes] = {};
      for (int64_t lane = 0; lane < lanes; ++lane) {
        const float* from = weights + ((n + lane) * inputs + c) * 9;
        for (int k = 0; k < 9; ++k) taps[k][lane] = from[k];
      }
      float* to = packed + panel * inputs + c * wide + n - panel;
      for (int i = 0; i < kPoints; ++i) {
        Vec half[3];
        for (int k = 0; k < 3; ++k) half[k] = weighed(kWeights[i], taps[k], taps[3 + k], taps[6 + k]);
        for (int j = 0; j < kPoints; ++j) {
          store(to + (i * kPoints + j) * inputs * columns,
                half[0] * float(kWeights[j][0]) + half[1] * float(kWeights[j][1]) +
                    half[2] * float(kWeights[j][2]));
        }
      }
    }
  }
}

}  // extern "C"
