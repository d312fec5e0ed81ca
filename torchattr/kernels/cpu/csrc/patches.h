// Shared by the kernels on patches: vectors, the look-up of a variant's pixels, scratch memory.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <utility>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));

inline Vec all(float value) { return value - Vec{}; }  // a sum would turn -0 into 0

inline Vec load(const float* from) {
  Vec value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline void store(float* to, Vec value) { std::memcpy(to, &value, sizeof value); }

// Writes an aligned vector past the cache.
inline void store_past_cache(float* to, Vec value) {
#if defined(__AVX512F__)
  _mm512_stream_ps(to, __m512(value));
#else
  store(to, value);
#endif
}

// Makes stores past the cache visible to other threads.
inline void finish_stores() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

// The same for any number of first lanes; the others are 0.
inline Vec load(const float* from, int64_t lanes) {
  if (lanes >= kLanes) return load(from);
#if defined(__AVX512F__)
  return lanes > 0 ? Vec(_mm512_maskz_loadu_ps((1u << lanes) - 1, from)) : Vec{};
#endif
  Vec value = {};
  if (lanes > 0) std::memcpy(&value, from, lanes * sizeof(float));
  return value;
}

inline void store(float* to, Vec value, int64_t lanes) {
  if (lanes >= kLanes) return store(to, value);
#if defined(__AVX512F__)
  if (lanes > 0) _mm512_mask_storeu_ps(to, (1u << lanes) - 1, __m512(value));
  return;
#endif
  if (lanes > 0) std::memcpy(to, &value, lanes * sizeof(float));
}

// Exchanges the lanes of `low` whose index has the bit with those of `high` whose index has not.
template <int kBit, int... kLane>
inline void exchange(Vec& low, Vec& high, std::integer_sequence<int, kLane...>) {
  const Vec first = low, second = high;
#if __has_builtin(__builtin_shufflevector)
  low = __builtin_shufflevector(first, second, (kLane & kBit ? kLanes + kLane - kBit : kLane)...);
  high = __builtin_shufflevector(first, second, (kLane & kBit ? kLanes + kLane : kLane + kBit)...);
#else
  low = Vec{(kLane & kBit ? second[kLane & ~kBit] : first[kLane])...};
  high = Vec{(kLane & kBit ? second[kLane] : first[kLane | kBit])...};
#endif
}

// Returns every second value of two consecutive vectors.
template <int... kLane>
inline Vec evens(Vec first, Vec second, std::integer_sequence<int, kLane...>) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(first, second, (2 * kLane)...);
#else
  return Vec{(2 * kLane < kLanes ? first : second)[2 * kLane % kLanes]...};
#endif
}

inline Vec evens(Vec first, Vec second) {
  return evens(first, second, std::make_integer_sequence<int, kLanes>());
}

// Transposes.
template <int kBit = kLanes / 2>
inline void transpose(Vec (&rows)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (!(i & kBit)) {
      exchange<kBit>(rows[i], rows[i | kBit], std::make_integer_sequence<int, kLanes>());
    }
  }
  if constexpr (kBit > 1) transpose<kBit / 2>(rows);
}

// NaN stays NaN.
inline Vec clamped(Vec value, Vec lower, Vec upper) {
  value = value < lower ? lower : value;
  return value > upper ? upper : value;
}

inline void copy(float* to, const float* from, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    __builtin_prefetch(from + i + 256);
    store(to + i, load(from + i));
  }
  for (; i < count; ++i) to[i] = from[i];
}

// The columns of a table of boxes.
enum Column { kImage, kTop, kLeft, kBottom, kRight, kStart, kColumns };

}  // namespace

extern "C" {

// An activation: clean (images, height, width, channels) and changed (rows, channels).
struct Patches {
  const float* clean;
  const float* changed;
  const int64_t* boxes;
  int64_t height, width, channels;
};

// Destination of results: rows of boxes in the output.
struct Wanted {
  const int64_t* boxes;
  int64_t variants, rows;
  float* result;
};

struct Window {
  int64_t extent[2], stride[2], padding[2], dilation[2];
};

// Fused operations on an output: bias and residual may be null.
struct After {
  const float* bias;
  const Patches* residual;
  float lower, upper;
};

}  // extern "C"

namespace {

// Returns the channels of a pixel of a variant; null if it is outside the image.
inline const float* pixel(const Patches& x, int64_t variant, int64_t down, int64_t right) {
  if (uint64_t(down) >= uint64_t(x.height) || uint64_t(right) >= uint64_t(x.width)) return nullptr;
  const int64_t* box = x.boxes + variant * kColumns;
  const int64_t wide = box[kRight] - box[kLeft];
  const int64_t below = down - box[kTop], beside = right - box[kLeft];
  if (below >= 0 && down < box[kBottom] && beside >= 0 && beside < wide) {
    return x.changed + (box[kStart] + below * wide + beside) * x.channels;
  }
  return x.clean + ((box[kImage] * x.height + down) * x.width + right) * x.channels;
}

// Whether `count` pixels from a position on are adjacent in memory.
inline bool is_run(const Patches& x, int64_t variant, int64_t down, int64_t right, int64_t count) {
  if (down < 0 || down >= x.height || right < 0 || right + count > x.width) return false;
  const int64_t* box = x.boxes + variant * kColumns;
  if (down < box[kTop] || down >= box[kBottom]) return true;
  if (right >= box[kRight] || right + count <= box[kLeft]) return true;
  return right >= box[kLeft] && right + count <= box[kRight];
}

// A row of the result: its variant and its position.
struct Place {
  int64_t variant, down, right;
};

inline Place place_of(const Wanted& wanted, int64_t row) {
  int64_t low = 0, high = wanted.variants;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (wanted.boxes[middle * kColumns + kStart] <= row ? low : high) = middle;
  }
  const int64_t* box = wanted.boxes + low * kColumns;
  const int64_t within = row - box[kStart], wide = box[kRight] - box[kLeft];
  return {low, box[kTop] + within / wide, box[kLeft] + within % wide};
}

inline void advance(const Wanted& wanted, Place& place) {
  const int64_t* box = wanted.boxes + place.variant * kColumns;
  if (++place.right < box[kRight]) return;
  place.right = box[kLeft];
  if (++place.down < box[kBottom]) return;
  while (++place.variant < wanted.variants) {
    box += kColumns;
    if (box[kTop] == box[kBottom]) continue;
    place.down = box[kTop];
    place.right = box[kLeft];
    return;
  }
}

// Scratch memory of a thread, reused between calls: it grows, and is freed with the thread.
class Scratch {
 public:
  template <class T>
  T* get(int64_t count) {
    const size_t bytes = (count * sizeof(T) + kPage - 1) / kPage * kPage;
    if (bytes > bytes_) {
      memory_.reset();
      memory_.reset(std::aligned_alloc(kPage, bytes));
      if (!memory_) throw std::bad_alloc();
      bytes_ = bytes;
    }
    return static_cast<T*>(memory_.get());
  }

 private:
  static constexpr size_t kPage = 4096;
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  size_t bytes_ = 0;
};

// How work is split: into blocks of limited size, equally many for each thread.
struct Cut {
  int64_t total, size, count;

  Cut(int64_t total, int64_t most, int threads) : total(total) {
    const int64_t blocks = (total + most - 1) / most;
    const int64_t even = (blocks + threads - 1) / threads * threads;
    size = std::max<int64_t>(1, (total + even - 1) / std::max<int64_t>(1, even));
    count = (total + size - 1) / size;
  }
  int64_t first(int64_t block) const { return block * size; }
  int64_t last(int64_t block) const { return std::min(total, (block + 1) * size); }
};

}  // namespace
