// The points at which Winograd's filtering evaluates tiles of 1 to 4 outputs, in one dimension.

#pragma once

#include "patches.h"

namespace {

constexpr int kTile = 4;
constexpr int kPoints = 6;

// Evaluates m + 2 inputs at the points; includes the factors that the weights lack.
template <int m>
inline void to_points(const Vec* d, Vec* t) {
  if constexpr (m == 4) {
    const Vec even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1];
    const Vec far = d[4] - d[2], away = 2 * (d[3] - d[1]);
    t[0] = 4 * d[0] - 5 * d[2] + d[4];
    t[1] = 4 * d[1] - 5 * d[3] + d[5];
    t[2] = even + odd;
    t[3] = even - odd;
    t[4] = far + away;
    t[5] = far - away;
  } else if constexpr (m == 3) {
    t[0] = 4 * (d[0] - d[2]) + 2 * (d[3] - d[1]);
    t[1] = d[4] - d[2] - 2 * (d[3] - d[1]);
    t[2] = 3 * (d[3] - d[2] - 2 * d[1]);
    t[3] = d[3] - 3 * d[2] + 2 * d[1];
    t[4] = 4 * (d[3] - d[1]);
  } else if constexpr (m == 2) {
    t[0] = 4 * (d[0] - d[2]);
    t[1] = d[3] - d[1];
    t[2] = -3 * (d[1] + d[2]);
    t[3] = 3 * (d[1] - d[2]);
  } else {
    t[0] = 4 * (d[0] - d[1]);
    t[1] = d[2] - d[1];
    t[2] = -6 * d[1];
  }
}

// Returns m outputs from the products at the points.
template <int m>
inline void from_points(const Vec* t, Vec* y) {
  if constexpr (m == 4) {
    const Vec even = t[2] + t[3], odd = t[2] - t[3], far = t[4] + t[5], away = t[4] - t[5];
    y[0] = t[0] + even + far;
    y[1] = odd + 2 * away;
    y[2] = even + 4 * far;
    y[3] = odd + 8 * away + t[1];
  } else if constexpr (m == 3) {
    const Vec even = t[2] + t[3], odd = t[2] - t[3];
    y[0] = t[0] + even + t[4];
    y[1] = odd + 2 * t[4];
    y[2] = even + 4 * t[4] + t[1];
  } else if constexpr (m == 2) {
    y[0] = t[0] + t[2] + t[3];
    y[1] = t[2] - t[3] + t[1];
  } else {
    y[0] = t[0] + t[1] + t[2];
  }
}

// The weights at each point, for three taps.
constexpr double kWeights[kPoints][3] = {
    {1. / 4, 0, 0},          {0, 0, 1},
    {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6},
    {1. / 24, 2. / 24, 4. / 24}, {1. / 24, -2. / 24, 4. / 24}};

}  // namespace
