// Weights as packed for the kernels: panels of columns, and the 6 x 6 points of minimal filtering.

#pragma once

#include "points.h"
#include "product.h"

namespace {

// Weights of kLanes outputs or fewer, one value of each output in a vector.
struct Turned {
  const float* weights;  // of the first output
  int64_t distance;      // of the outputs
  int64_t outputs;
  float by[kLanes];      // scale of the weights of each output

  Turned(const float* weights, const float* scale, int64_t distance, int64_t outputs)
      : weights(weights), distance(distance), outputs(outputs) {
    for (int lane = 0; lane < kLanes; ++lane) {
      by[lane] = scale == nullptr || lane >= outputs ? 1.0f : scale[lane];
    }
  }

  // Returns kLanes values from an offset on, or as many as are left.
  void read(int64_t first, int64_t count, Vec (&values)[kLanes]) const {
    for (int lane = 0; lane < kLanes; ++lane) {
      values[lane] = lane < outputs ? load(weights + lane * distance + first, count) * by[lane] : Vec{};
    }
    transpose(values);
  }
};

// In double precision: minimal filtering relies on terms that cancel.
typedef double Doubles __attribute__((vector_size(kLanes * sizeof(double))));

inline Doubles weighed(const double* by, Doubles first, Doubles second, Doubles third) {
  return first * by[0] + second * by[1] + third * by[2];
}

// Evaluates nine taps at all points, and writes each to a matrix of its own. These often map
// to the same cache set, which has fewer lines than there are points.
inline void to_all_points(const Vec* nine, float* to, int64_t distance) {
  Doubles taps[9];
  for (int k = 0; k < 9; ++k) taps[k] = __builtin_convertvector(nine[k], Doubles);
  for (int i = 0; i < kPoints; ++i) {
    Doubles half[3];
    for (int k = 0; k < 3; ++k) half[k] = weighed(kWeights[i], taps[k], taps[3 + k], taps[6 + k]);
    for (int j = 0; j < kPoints; ++j) {
      const Doubles point = weighed(kWeights[j], half[0], half[1], half[2]);
      store_past_cache(to + (i * kPoints + j) * distance, __builtin_convertvector(point, Vec));
    }
  }
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
    const Turned turned(weights + n * inputs * 9, scale == nullptr ? nullptr : scale + n, inputs * 9,
                        outputs - n);
    float* to = packed + panel * inputs + n - panel;
    for (int64_t first = 0; first < inputs; first += kLanes) {
      const int64_t count = std::min<int64_t>(kLanes, inputs - first);
      Vec taps[9][kLanes];
      for (int part = 0; part < 9; ++part) {
        turned.read(first * 9 + part * kLanes, count * 9 - part * kLanes, taps[part]);
      }
      for (int64_t c = 0; c < count; ++c) {
        to_all_points(taps[0] + c * 9, to + (first + c) * wide, inputs * columns);
      }
    }
    finish_stores();
  }
}

// Packs weights (groups, outputs, inputs, taps) for torchattr_convolve: (groups, panels).
void torchattr_pack_product(const float* weights, const float* scale, int64_t groups,
                            int64_t outputs, int64_t inputs, int64_t taps, float* packed,
                            int threads) {
  const int64_t columns = padded(outputs), depth = inputs * taps;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
  for (int64_t group = 0; group < groups; ++group) {
    for (int64_t n = 0; n < columns; n += kLanes) {
      const int64_t panel = n / kPanel * kPanel, output = group * outputs + n;
      const int64_t wide = columns - panel > kLanes ? kPanel : kLanes;
      const Turned turned(weights + output * depth, scale == nullptr ? nullptr : scale + output, depth,
                          outputs - n);
      float* to = packed + (group * columns + panel) * depth + n - panel;
      for (int64_t first = 0; first < depth; first += kLanes) {
        Vec values[kLanes];
        turned.read(first, depth - first, values);
        for (int64_t k = first; k < std::min(depth, first + kLanes); ++k) {
          store(to + (k % taps * inputs + k / taps) * wide, values[k - first]);
        }
      }
    }
  }
}

}  // extern "C"
