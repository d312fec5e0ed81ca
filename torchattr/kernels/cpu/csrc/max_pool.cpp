// Max-pools with switches and their backward on a CPU, for float32 (kernels/layout.py).
//
// A tensor consists of planes of three dimensions, padded with leading ones; each position holds
// `inner` values: one, or all channels of a channels-last tensor. No result depends on how many
// threads there are.

#include <vector>

#include "patches.h"

extern "C" {

struct Pool {
  int64_t extent[3], stride[3], padding[3], dilation[3];
  int64_t input[3], output[3];
  int64_t planes, inner;
};

}  // extern "C"

namespace {

constexpr uint8_t kOpen = 0x80;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kMost = 256;      // elements of a window
constexpr int64_t kSlice = 64;  // of the values at a position: the share of a thread
constexpr int64_t kAlone = 1 << 14;  // up to this many values, waking threads costs more

typedef int32_t Ints __attribute__((vector_size(kLanes * sizeof(int32_t))));
typedef uint8_t Bytes __attribute__((vector_size(kLanes)));

inline void store(uint8_t* to, Bytes bytes, int64_t count = kLanes) {
  std::memcpy(to, &bytes, std::min<int64_t>(kLanes, count));
}

inline int64_t volume(const int64_t* sizes) { return sizes[0] * sizes[1] * sizes[2]; }

// The position of a window's element along a dimension.
inline int64_t along(const Pool& pool, int dim, int64_t output, int64_t tap) {
  return output * pool.stride[dim] - pool.padding[dim] + tap * pool.dilation[dim];
}

inline bool is_inside(const Pool& pool, int dim, int64_t at) { return at >= 0 && at < pool.input[dim]; }

// The first element of a window inside the input.
inline int64_t first_tap(const Pool& pool, int dim, int64_t output) {
  const int64_t missing = -along(pool, dim, output, 0);
  return missing <= 0 ? 0 : (missing + pool.dilation[dim] - 1) / pool.dilation[dim];
}

// Returns one value of each of several windows, `stride` apart.
template <int kStride>
inline Vec spread(const float* from, int64_t stride, int64_t lanes) {
  if constexpr (kStride == 1) return load(from, lanes);
  if constexpr (kStride == 2) {
    const int64_t count = 2 * lanes - 1;
    return evens(load(from, count), load(from + kLanes, count - kLanes));
  }
  Vec value = {};
  for (int64_t lane = 0; lane < std::min<int64_t>(kLanes, lanes); ++lane) value[lane] = from[lane * stride];
  return value;
}

// The winners of windows so far: of equal values the first wins, of several NaN the last.
// Their numbers are floats, so that one comparison serves both.
struct Best {
  Vec value = all(-kInfinity);
  Vec place;

  void meet(Vec other, float number) {
    const auto wins = (other > value) | (other != other);
    value = wins ? other : value;
    place = wins ? all(number) : place;
  }

  Bytes switches(bool tells_open) const {
    const Ints open = (value > Vec{}) & (tells_open ? int32_t(kOpen) : 0);
    return __builtin_convertvector(__builtin_convertvector(place, Ints) | open, Bytes);
  }
};

// The first elements inside the input of the windows of an output row, except for their column.
struct Row {
  int64_t deep, down;
  int64_t first[2];

  Row(const Pool& pool, int64_t index) {
    deep = index / pool.output[1];
    down = index % pool.output[1];
    first[0] = first_tap(pool, 0, deep);
    first[1] = first_tap(pool, 1, down);
  }

  int64_t number(const Pool& pool, int64_t column) const {
    return (first[0] * pool.extent[1] + first[1]) * pool.extent[2] + column;
  }
};

// Calls `act` for each element of the windows of a row that is in a row of the input: with its
// number, that row, and its position along it.
template <class Do>
inline void each_place(const Pool& pool, const Row& row, Do act) {
  for (int64_t a = row.first[0]; a < pool.extent[0]; ++a) {
    const int64_t deep = along(pool, 0, row.deep, a);
    if (!is_inside(pool, 0, deep)) break;
    for (int64_t b = row.first[1]; b < pool.extent[1]; ++b) {
      const int64_t down = along(pool, 1, row.down, b);
      if (!is_inside(pool, 1, down)) break;
      for (int64_t c = 0; c < pool.extent[2]; ++c) {
        act(float((a * pool.extent[1] + b) * pool.extent[2] + c), deep * pool.input[1] + down, c);
      }
    }
  }
}

// Finds the maxima of planes with one value per position.
//
// Where windows reach beyond a row, rows are copied to a buffer padded with -inf.
class Maxima {
 public:
  Maxima(const Pool& pool, bool tells_open)
      : pool_(pool),
        tells_open_(tells_open),
        wide_(pool.output[2]),
        reach_(along(pool, 2, wide_ - 1, pool.extent[2] - 1) + 1),
        has_margins_(pool.padding[2] > 0 || reach_ > pool.input[2]),
        length_(has_margins_ ? pool.padding[2] + std::max(reach_, pool.input[2]) : pool.input[2]),
        rows_(has_margins_ ? pool.input[0] * pool.input[1] * length_ : 0, -kInfinity),
        codes_(volume(pool.output) + kLanes) {
    for (int64_t right = 0; right < wide_; ++right) columns_.push_back(float(first_tap(pool, 2, right)));
  }

  void plane(const float* x, float* values, uint8_t* switches) {
    const float* rows = has_margins_ ? with_margins(x) : x;
    for (int64_t index = 0; index < pool_.output[0] * pool_.output[1]; ++index, values += wide_) {
      if (pool_.stride[2] == 1) {
        row<1>(rows, index, values);
      } else if (pool_.stride[2] == 2) {
        row<2>(rows, index, values);
      } else {
        row<0>(rows, index, values);
      }
    }
    std::memcpy(switches, codes_.data(), volume(pool_.output));
  }

 private:
  const float* with_margins(const float* x) {
    const int64_t in = pool_.input[2];
    float* to = rows_.data() + pool_.padding[2];
    for (int64_t row = 0; row < pool_.input[0] * pool_.input[1]; ++row, to += length_, x += in) {
      for (int64_t i = 0; i < in; i += kLanes) store(to + i, load(x + i, in - i), in - i);
    }
    return rows_.data();
  }

  template <int kStride>
  void row(const float* rows, int64_t index, float* values) {
    const Row row(pool_, index);
    const int64_t stride = pool_.stride[2];
    for (int64_t i = 0; i < wide_; i += kLanes) {
      Best best;
      best.place = load(&columns_[i], wide_ - i) + all(float(row.number(pool_, 0)));
      const float* from = rows + i * stride;
      each_place(pool_, row, [&](float number, int64_t line, int64_t tap) {
        const float* first = from + line * length_ + tap * pool_.dilation[2];
        best.meet(spread<kStride>(first, stride, wide_ - i), number);
      });
      store(values + i, best.value, wide_ - i);
      // The next row overwrites the excess.
      store(&codes_[index * wide_ + i], best.switches(tells_open_));
    }
  }

  const Pool& pool_;
  const bool tells_open_;
  const int64_t wide_, reach_;
  const bool has_margins_;
  const int64_t length_;
  std::vector<float> rows_, columns_;
  std::vector<uint8_t> codes_;
};

// The same for one window with many values per position.
void pool_inner(const Pool& pool, const float* x, const Row& row, int64_t right, bool tells_open,
                float* values, uint8_t* switches) {
  const Vec first = all(float(row.number(pool, first_tap(pool, 2, right))));
  for (int64_t i = 0; i < pool.inner; i += kLanes) {
    Best best;
    best.place = first;
    each_place(pool, row, [&](float number, int64_t line, int64_t tap) {
      const int64_t at = along(pool, 2, right, tap);
      if (!is_inside(pool, 2, at)) return;
      best.meet(load(x + (line * pool.input[2] + at) * pool.inner + i, pool.inner - i), number);
    });
    store(values + i, best.value, pool.inner - i);
    store(switches + i, best.switches(tells_open), pool.inner - i);
  }
}

// Returns a value or 0 without a branch, which would be unpredictable.
inline float kept(float value, bool is_kept) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= -uint32_t(is_kept);
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// The gradient of a winner: zero through a closed ReLU. NaN passes an open one.
struct Gated {
  uint8_t least;  // switch that passes
  float lowest;   // value that passes

  Gated(bool needs_open, bool is_positive)
      : least(needs_open ? kOpen : 0),
        lowest(is_positive ? 0 : -kInfinity) {}

  float operator()(float grad, uint8_t code) const {
    return kept(grad, (code >= least) & !(grad < lowest));
  }
};

// How gradients are sent back to the winners.
struct Back {
  const Pool& pool;
  const Gated gated;
  const uint8_t mask;       // of a switch's number
  const bool is_rectified;  // whether sums are clamped
  const int64_t* offsets;   // of a window's elements from its first one
};

// Returns the first element of the first window of an output row, possibly in the padding.
inline int64_t corner_of(const Pool& pool, int64_t row) {
  const int64_t deep = along(pool, 0, row / pool.output[1], 0);
  const int64_t down = along(pool, 1, row % pool.output[1], 0);
  return (deep * pool.input[1] + down) * pool.input[2] - pool.padding[2];
}

// Whether a pool can have written a switch; any other must do no harm.
inline bool is_place(int64_t at, int64_t places) { return uint64_t(at) < uint64_t(places); }

inline void rectify(float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = kept(values[i], !(values[i] < 0));
}

// Accumulates the gradients of a plane with one value per position; `passed` is scratch memory.
void add_plane(const Back& back, const float* grad, const uint8_t* codes, float* passed, float* to) {
  const Pool& pool = back.pool;
  const Gated gated = back.gated;  // Copied: the compiler cannot know that nothing writes to these.
  const uint8_t mask = back.mask;
  const int64_t in = volume(pool.input), wide = pool.output[2], stride = pool.stride[2];
  const int64_t* offsets = back.offsets;
  for (int64_t i = 0; i < volume(pool.output); ++i) passed[i] = gated(grad[i], codes[i]);
  std::fill(to, to + in, 0.0f);
  for (int64_t row = 0; row < pool.output[0] * pool.output[1]; ++row, passed += wide, codes += wide) {
    const int64_t corner = corner_of(pool, row);
    for (int64_t i = 0; i < wide; ++i) {
      const int64_t at = corner + i * stride + offsets[codes[i] & mask];
      if (is_place(at, in)) to[at] += passed[i];
    }
  }
  if (back.is_rectified) rectify(to, in);
}

// The same for some of the many values per position: no two of them share a destination.
void add_inner(const Back& back, int64_t first, int64_t last, const float* grad, const uint8_t* codes,
               float* to) {
  const Pool& pool = back.pool;
  const int64_t in = volume(pool.input), inner = pool.inner;
  for (int64_t at = 0; at < in; ++at) std::fill(to + at * inner + first, to + at * inner + last, 0.0f);
  for (int64_t row = 0; row < pool.output[0] * pool.output[1]; ++row) {
    int64_t corner = corner_of(pool, row) * inner;
    for (int64_t right = 0; right < pool.output[2]; ++right, grad += inner, codes += inner) {
      for (int64_t c = first; c < last; ++c) {
        const int64_t at = corner + back.offsets[codes[c] & back.mask] + c;
        if (is_place(at, in * inner)) to[at] += back.gated(grad[c], codes[c]);
      }
      corner += pool.stride[2] * inner;
    }
  }
  for (int64_t at = 0; back.is_rectified && at < in; ++at) rectify(to + at * inner + first, last - first);
}

// Returns the offset of each element of a window from its first one.
std::vector<int64_t> all_offsets(const Pool& pool) {
  std::vector<int64_t> offsets(kMost);
  for (int64_t number = 0; number < std::min<int64_t>(volume(pool.extent), kMost); ++number) {
    const int64_t c = number % pool.extent[2], b = number / pool.extent[2] % pool.extent[1];
    const int64_t a = number / pool.extent[2] / pool.extent[1];
    const int64_t row = a * pool.dilation[0] * pool.input[1] + b * pool.dilation[1];
    offsets[number] = (row * pool.input[2] + c * pool.dilation[2]) * pool.inner;
  }
  return offsets;
}

}  // namespace

extern "C" {

// Writes the maximum of each window and its switch.
void torchattr_max_pool(const Pool* pool, const float* x, float* values, uint8_t* switches,
                        int tells_open, int threads) {
  const int64_t in = volume(pool->input) * pool->inner, out = volume(pool->output) * pool->inner;
  const int64_t rows = pool->output[0] * pool->output[1], row = pool->output[2] * pool->inner;
#pragma omp parallel num_threads(threads) if (pool->planes * in > kAlone)
  if (pool->inner == 1) {
    Maxima maxima(*pool, tells_open);
#pragma omp for schedule(static)
    for (int64_t plane = 0; plane < pool->planes; ++plane) {
      maxima.plane(x + plane * in, values + plane * out, switches + plane * out);
    }
  } else {
#pragma omp for schedule(static)
    for (int64_t index = 0; index < pool->planes * rows; ++index) {
      const Row line(*pool, index % rows);
      const float* picture = x + index / rows * in;
      for (int64_t right = 0; right < pool->output[2]; ++right) {
        const int64_t at = index * row + right * pool->inner;
        pool_inner(*pool, picture, line, right, tells_open, values + at, switches + at);
      }
    }
  }
}

// Sends gradients to the winners. With is_positive negative ones become zero: before the sum, or
// after it where windows overlap (is_summed).
void torchattr_unpool(const Pool* pool, const float* grad, const uint8_t* switches, float* result,
                      int tells_open, int needs_open, int is_positive, int is_summed, int threads) {
  const uint8_t mask = tells_open ? uint8_t(kOpen - 1) : uint8_t(0xff);
  const Gated gated(needs_open, is_positive && !is_summed);
  const std::vector<int64_t> offsets = all_offsets(*pool);
  const Back back = {*pool, gated, mask, is_positive && is_summed, offsets.data()};
  const int64_t in = volume(pool->input) * pool->inner, out = volume(pool->output) * pool->inner;
  const int64_t slices = (pool->inner + kSlice - 1) / kSlice;
#pragma omp parallel num_threads(threads) if (pool->planes * in > kAlone)
  {
    std::vector<float> passed(pool->inner == 1 ? out : 0);
#pragma omp for schedule(static)
    for (int64_t item = 0; item < pool->planes * slices; ++item) {
      const int64_t plane = item / slices, first = item % slices * kSlice;
      const float* from = grad + plane * out;
      const uint8_t* codes = switches + plane * out;
      if (pool->inner == 1) {
        add_plane(back, from, codes, passed.data(), result + plane * in);
      } else {
        add_inner(back, first, std::min(pool->inner, first + kSlice), from, codes, result + plane * in);
      }
    }
  }
}

}  // extern "C"
