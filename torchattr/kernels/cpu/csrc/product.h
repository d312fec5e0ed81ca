// The product of a few rows with packed weights, the inner loop of all convolutions but depthwise.
//
// Weights are packed in panels of two vectors of columns, each depth after depth; where the columns
// leave at most one vector over, the last panel has one. The distance of rows is fixed, so that
// one register addresses all of them.

#pragma once

#include "patches.h"

namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRows = 14;  // of accumulators; 2 vectors each fill 28 of 32 registers
#else
constexpr int kRows = 6;  // 12 of 16 registers
#endif

constexpr int64_t kDepth = 256;             // of a product at most: a panel stays in the L1 cache
constexpr int64_t kDistance = kDepth + 16;  // of rows: no power of two, which shares cache lines
constexpr int64_t kPanel = 2 * kLanes;

inline int64_t padded(int64_t columns) { return (columns + kLanes - 1) / kLanes * kLanes; }

// Keeps a value in a register where the compiler would read it from memory twice.
inline void keep(Vec& value) {
#if defined(__AVX512F__)
  asm("" : "+v"(value));
#elif defined(__AVX__)
  asm("" : "+x"(value));
#else
  (void)value;
#endif
}

// Destination of a product, and the operations fused onto it.
struct Target {
  float* to;
  int64_t distance;              // of its rows
  int64_t columns;               // left from here on
  bool adds;                     // to the destination
  bool finishes;                 // with bias, residual and bounds
  const float* bias;             // may be null
  const float* const* residual;  // of each row, from its first column on; may be null
  int64_t column;                // the first
  float lower, upper;
};

// Visits each sum: its row, its vector, and how many of its lanes are columns.
template <bool kPartial, int kCount, int kVectors, class Do>
inline void each(Vec (&sums)[kCount][kVectors], int64_t columns, Do act) {
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) {
      act(sums[i][j], i, j, kPartial ? columns - j * kLanes : int64_t(kLanes));
    }
  }
}

// Writes sums; kPartial: where not all lanes of the vectors are columns. All is read before anything
// is written: rows often lie at multiples of 4096 bytes, where reads wait for writes. Conditions are
// tested once for all sums.
template <bool kPartial, int kCount, int kVectors>
inline void write(Vec (&sums)[kCount][kVectors], const Target& target) {
  float* const to = target.to;
  const int64_t distance = target.distance, columns = target.columns, column = target.column;
  if (target.adds) {
    each<kPartial>(sums, columns, [=](Vec& sum, int i, int j, int64_t lanes) {
      sum += load(to + i * distance + j * kLanes, lanes);
    });
  }
  if (target.finishes && target.bias != nullptr) {
    Vec bias[kVectors];
    for (int j = 0; j < kVectors; ++j) {
      bias[j] = load(target.bias + column + j * kLanes, kPartial ? columns - j * kLanes : kLanes);
    }
    each<kPartial>(sums, columns, [&](Vec& sum, int, int j, int64_t) { sum += bias[j]; });
  }
  if (target.finishes && target.residual != nullptr) {
    const float* const* residual = target.residual;
    each<kPartial>(sums, columns, [=](Vec& sum, int i, int j, int64_t lanes) {
      sum += load(residual[i] + column + j * kLanes, lanes);
    });
  }
  if (target.finishes) {
    const Vec lower = all(target.lower), upper = all(target.upper);
    each<kPartial>(sums, columns,
                   [&](Vec& sum, int, int, int64_t) { sum = clamped(sum, lower, upper); });
  }
  each<kPartial>(sums, columns, [=](const Vec& sum, int i, int j, int64_t lanes) {
    store(to + i * distance + j * kLanes, sum, lanes);
  });
}

// Prefetch for the next calls, a part in each: while a panel is used, the next one is loaded.
struct Ahead {
  const char* from;
  int64_t step;  // for each depth
};

constexpr int kLine = 64;

template <int kCount, int kVectors>
inline void expect(const Target& target) {
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    const char* to = reinterpret_cast<const char*>(target.to + i * target.distance);
    for (int at = 0; at < kVectors * int(sizeof(Vec)); at += kLine) __builtin_prefetch(to + at, 1);
  }
  if (!target.finishes || target.residual == nullptr) return;
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    const char* from = reinterpret_cast<const char*>(target.residual[i] + target.column);
    for (int at = 0; at < kVectors * int(sizeof(Vec)); at += kLine) __builtin_prefetch(from + at);
  }
}

template <int kCount, int kVectors>
void multiply(int64_t depth, const float* rows, const float* panel, const Target& target,
              Ahead ahead) {
  expect<kCount, kVectors>(target);
  Vec sums[kCount][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) sums[i][j] = Vec{};
  }
  for (int64_t k = 0; k < depth; ++k) {
    __builtin_prefetch(ahead.from, 0, 2);
    __builtin_prefetch(ahead.from + kLine, 0, 2);
    ahead.from += ahead.step;
    Vec weights[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) weights[j] = load(panel + (k * kVectors + j) * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      Vec value = all(rows[i * kDistance + k]);
      keep(value);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sums[i][j] += value * weights[j];
    }
  }
  if (target.columns >= kVectors * kLanes) {
    write<false>(sums, target);
  } else {
    write<true>(sums, target);
  }
}

using Multiply = void (*)(int64_t, const float*, const float*, const Target&, Ahead);

template <int kCount>
Multiply multiply_of(int64_t count, bool is_double) {
  if (count == kCount) return is_double ? multiply<kCount, 2> : multiply<kCount, 1>;
  if constexpr (kCount > 1) return multiply_of<kCount - 1>(count, is_double);
  return nullptr;
}

// Multiplies rows with all columns of packed weights, of which the depths from `first` are taken
// out of `all_depth`; `then` is the next panel.
inline void multiply_all(int64_t count, int64_t depth, const float* rows, const float* packed,
                         int64_t first, int64_t all_depth, Target target, const float* then) {
  const int64_t pieces = (count + kRows - 1) / kRows;
  const int64_t columns = target.columns;
  float* const start = target.to;
  const float* const* const residual = target.residual;
  const int64_t column = target.column;
  for (int64_t done = 0; done < columns; done += kPanel) {
    const bool is_double = columns - done > kLanes;
    const float* panel = packed + done * all_depth + first * (is_double ? 2 : 1) * kLanes;
    target.columns = columns - done;
    target.column = column + done;
    const int64_t left = columns - done - kPanel;
    const float* next = packed + (done + kPanel) * all_depth + first * std::min(kPanel, padded(left));
    if (left <= 0) next = then;
    const int64_t step = kPanel * sizeof(float) / pieces;
    int64_t row = 0;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t here = (count - row) / (pieces - piece);
      target.to = start + row * target.distance + done;
      target.residual = residual == nullptr ? nullptr : residual + row;
      multiply_of<kRows>(here, is_double)(depth, rows + row * kDistance, panel, target,
                                          {reinterpret_cast<const char*>(next) + piece * depth * step, step});
      row += here;
    }
  }
}

}  // namespace
