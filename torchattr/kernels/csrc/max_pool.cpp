// Max-pools with switches and their way back on a CPU, for float32 (kernels/layout.py).
//
// A tensor is planes of three dimensions, of which fewer are led by ones, and at each place lie as
// many values as `inner` says: one, or all channels where they lie last. No result depends on how
// many threads there are.

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
constexpr int kMost = 256;      // places of a window
constexpr int64_t kSlice = 64;  // of what lies at a place: as much as a thread takes
constexpr int64_t kAlone = 1 << 14;  // up to so many values, waking threads costs more

inline int64_t volume(const int64_t* sizes) { return sizes[0] * sizes[1] * sizes[2]; }

// Where a place of a window lies along a dimension.
inline int64_t along(const Pool& pool, int dim, int64_t output, int64_t tap) {
  return output * pool.stride[dim] - pool.padding[dim] + tap * pool.dilation[dim];
}

inline bool is_inside(const Pool& pool, int dim, int64_t at) { return at >= 0 && at < pool.input[dim]; }

// The first place of a window that lies in the input.
inline int64_t first_tap(const Pool& pool, int dim, int64_t output) {
  const int64_t missing = -along(pool, dim, output, 0);
  return missing <= 0 ? 0 : (missing + pool.dilation[dim] - 1) / pool.dilation[dim];
}

// The outputs of a row whose windows have a place in the input: [first, second).
inline std::pair<int64_t, int64_t> reached(const Pool& pool, int64_t tap) {
  const int64_t stride = pool.stride[2], from = pool.padding[2] - tap * pool.dilation[2];
  const int64_t first = from <= 0 ? 0 : (from + stride - 1) / stride;
  const int64_t end = pool.input[2] + from;
  const int64_t second = end <= 0 ? 0 : (end + stride - 1) / stride;
  return {std::min(first, pool.output[2]), std::min(second, pool.output[2])};
}

// Gives the values at every second place, of which there are so many.
inline Vec load_even(const float* from, int64_t lanes) {
  const int64_t count = 2 * lanes - 1;
  return evens(load(from, count), load(from + kLanes, count - kLanes));
}

// Compares one place of many windows: of equal values the first wins, of several NaN the last.
// Numbers are kept as floats, so that one comparison serves both.
template <class Load>
inline void compare(Load values, int64_t count, float number, float* best, float* place) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t lanes = count - i;
    const Vec value = values(i, lanes), before = load(best + i, lanes);
    const auto wins = (value > before) | (value != value);
    store(best + i, wins ? value : before, lanes);
    store(place + i, wins ? all(number) : load(place + i, lanes), lanes);
  }
}

inline void compare(const float* from, int64_t stride, int64_t count, float number, float* best,
                    float* place) {
  if (stride == 1) {
    compare([=](int64_t i, int64_t lanes) { return load(from + i, lanes); }, count, number, best,
            place);
  } else if (stride == 2) {
    compare([=](int64_t i, int64_t lanes) { return load_even(from + 2 * i, lanes); }, count, number,
            best, place);
  } else {
    const auto spread = [=](int64_t i, int64_t lanes) {
      Vec value = {};
      for (int64_t lane = 0; lane < std::min<int64_t>(kLanes, lanes); ++lane) {
        value[lane] = from[(i + lane) * stride];
      }
      return value;
    };
    compare(spread, count, number, best, place);
  }
}

inline void finish(const float* best, const float* place, int64_t count, bool tells_open,
                   float* values, uint8_t* switches) {
  const uint8_t open = tells_open ? kOpen : 0;
  std::copy(best, best + count, values);
  for (int64_t i = 0; i < count; ++i) {
    switches[i] = uint8_t(int32_t(place[i])) | (uint8_t(-uint8_t(best[i] > 0)) & open);
  }
}

// The numbers of the first places of the windows of a row, but for the part of their column.
struct Row {
  const float* plane;
  int64_t deep, down;
  int64_t first[2];

  Row(const Pool& pool, const float* x, int64_t index) {
    const int64_t rows = pool.output[0] * pool.output[1];
    plane = x + index / rows * volume(pool.input) * pool.inner;
    deep = index % rows / pool.output[1];
    down = index % pool.output[1];
    first[0] = first_tap(pool, 0, deep);
    first[1] = first_tap(pool, 1, down);
  }

  int64_t number(const Pool& pool, int64_t column) const {
    return (first[0] * pool.extent[1] + first[1]) * pool.extent[2] + column;
  }
};

// Calls `act` with the number of each place of the windows of a row that lies in a row of the input,
// that row, and its place along it.
template <class Do>
inline void each_place(const Pool& pool, const Row& row, Do act) {
  for (int64_t a = row.first[0]; a < pool.extent[0]; ++a) {
    const int64_t deep = along(pool, 0, row.deep, a);
    if (!is_inside(pool, 0, deep)) break;
    for (int64_t b = row.first[1]; b < pool.extent[1]; ++b) {
      const int64_t down = along(pool, 1, row.down, b);
      if (!is_inside(pool, 1, down)) break;
      const int64_t start = (deep * pool.input[1] + down) * pool.input[2];
      for (int64_t c = 0; c < pool.extent[2]; ++c) {
        act(float((a * pool.extent[1] + b) * pool.extent[2] + c), row.plane + start * pool.inner, c);
      }
    }
  }
}

void pool_row(const Pool& pool, const Row& row, float* best, float* place) {
  const int64_t wide = pool.output[2];
  std::fill(best, best + wide, -kInfinity);
  for (int64_t i = 0; i < wide; ++i) place[i] = float(row.number(pool, first_tap(pool, 2, i)));
  each_place(pool, row, [&](float number, const float* from, int64_t tap) {
    const auto [first, second] = reached(pool, tap);
    if (first >= second) return;
    compare(from + along(pool, 2, first, tap), pool.stride[2], second - first, number, best + first,
            place + first);
  });
}

// The same for windows at whose places many values lie: one window after the other.
void pool_inner(const Pool& pool, const Row& row, int64_t right, float* best, float* place) {
  std::fill(best, best + pool.inner, -kInfinity);
  std::fill(place, place + pool.inner, float(row.number(pool, first_tap(pool, 2, right))));
  each_place(pool, row, [&](float number, const float* from, int64_t tap) {
    const int64_t at = along(pool, 2, right, tap);
    if (is_inside(pool, 2, at)) compare(from + at * pool.inner, 1, pool.inner, number, best, place);
  });
}

// Gives a value or 0, without a branch: which it is cannot be foreseen.
inline float kept(float value, bool is_kept) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= -uint32_t(is_kept);
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// What comes back to a winner: nothing through a closed rectifier. NaN passes an open one.
struct Gated {
  uint8_t least;  // of the switches that let pass
  float lowest;   // that passes

  Gated(bool needs_open, bool is_positive)
      : least(needs_open ? kOpen : 0),
        lowest(is_positive ? 0 : -kInfinity) {}

  float operator()(float grad, uint8_t code) const {
    return kept(grad, (code >= least) & !(grad < lowest));
  }
};

// How values go back to the places that won.
struct Back {
  const Pool& pool;
  const Gated gated;
  const uint8_t mask;       // of a switch, for its number
  const bool is_rectified;  // what was summed up
};

// Sums up, place by place, what comes back to a plane at whose places one value lies.
//
// In a row, the outputs of one tap reach every `stride`-th place. These lie beside each other in
// `sums`: for each remainder of a place by the stride a row of its own, which begins `margin` early.
class Sums {
 public:
  explicit Sums(const Back& back)
      : back_(back),
        pool_(back.pool),
        wide_(pool_.output[2]),
        margin_(pool_.padding[2] / pool_.stride[2] + 1),
        length_(wide_ + margin_ + pool_.extent[2] * pool_.dilation[2] / pool_.stride[2] + kLanes),
        lowest_(all(back.is_rectified ? 0 : -kInfinity)),
        grads_(volume(pool_.output) + kLanes),
        numbers_(grads_.size()),
        sums_((pool_.stride[2] + 1) * length_) {
    for (int dim = 0; dim < 2; ++dim) {
      for (int64_t place = 0; place < pool_.input[dim]; ++place) lookers_[dim].push_back(looking(dim, place));
    }
    for (int64_t tap = 0; tap < pool_.extent[2]; ++tap) {
      const int64_t place = along(pool_, 2, margin_, tap);  // of the output `margin`
      begins_.push_back(place % pool_.stride[2] * length_ + place / pool_.stride[2]);
    }
  }

  void plane(const float* grad, const uint8_t* codes, float* to) {
    open(grad, codes);
    for (int64_t deep = 0; deep < pool_.input[0]; ++deep) {
      for (int64_t down = 0; down < pool_.input[1]; ++down, to += pool_.input[2]) {
        std::fill(sums_.begin(), sums_.end(), 0.0f);
        for (const Looker& a : lookers_[0][deep]) {
          for (const Looker& b : lookers_[1][down]) {
            add((a.output * pool_.output[1] + b.output) * wide_,
                (a.tap * pool_.extent[1] + b.tap) * pool_.extent[2]);
          }
        }
        write(to);
      }
    }
  }

 private:
  void open(const float* grad, const uint8_t* codes) {
    float *const grads = grads_.data(), *const numbers = numbers_.data();
    const Gated gated = back_.gated;
    const uint8_t mask = back_.mask;
    for (int64_t i = 0; i < volume(pool_.output); ++i) grads[i] = gated(grad[i], codes[i]);
    for (int64_t i = 0; i < volume(pool_.output); ++i) numbers[i] = float(codes[i] & mask);
  }

  // A window that looks at a place by one of its taps.
  struct Looker {
    int64_t tap, output;
  };

  // Gives those of a place along a dimension, the first output first.
  std::vector<Looker> looking(int dim, int64_t place) const {
    std::vector<Looker> found;
    for (int64_t tap = pool_.extent[dim] - 1; tap >= 0; --tap) {
      const int64_t start = place + pool_.padding[dim] - tap * pool_.dilation[dim];
      if (start < 0 || start % pool_.stride[dim]) continue;
      const int64_t output = start / pool_.stride[dim];
      if (output < pool_.output[dim]) found.push_back({tap, output});
    }
    return found;
  }

  // Adds a row of outputs, of whose windows these places have the numbers from `first` on.
  void add(int64_t row, int64_t first) {
    for (int64_t tap = pool_.extent[2] - 1; tap >= 0; --tap) {
      float* sums = &sums_[begins_[tap]];
      const Vec number = all(float(first + tap));
      for (int64_t i = 0; i < wide_; i += kLanes) {
        const Vec grad = load(&grads_[row + i], wide_ - i);
        store(sums + i, load(sums + i) + (load(&numbers_[row + i]) == number ? grad : Vec{}));
      }
    }
  }

  // Gives the sums of the places of a remainder.
  Vec summed(int64_t rest, int64_t index) const {
    return clamped(load(&sums_[rest * length_ + margin_ + index]), lowest_, all(kInfinity));
  }

  void write(float* to) const {
    const int64_t stride = pool_.stride[2], in = pool_.input[2];
    if (stride > 2) return write_apart(to);
    for (int64_t i = 0; i * stride < in; i += kLanes) {
      const int64_t lanes = in - i * stride;
      if (stride == 1) {
        store(to + i, summed(0, i), lanes);
      } else {
        Vec low = summed(0, i), high = summed(1, i);
        zip(low, high);
        store(to + 2 * i, low, lanes);
        store(to + 2 * i + kLanes, high, lanes - kLanes);
      }
    }
  }

  void write_apart(float* to) const {
    const int64_t stride = pool_.stride[2];
    for (int64_t at = 0; at < pool_.input[2]; ++at) {
      const float sum = sums_[at % stride * length_ + margin_ + at / stride];
      to[at] = kept(sum, !(sum < lowest_[0]));
    }
  }

  const Back& back_;
  const Pool& pool_;
  const int64_t wide_, margin_, length_;
  const Vec lowest_;
  std::vector<float> grads_, numbers_, sums_;
  std::vector<std::vector<Looker>> lookers_[2];
  std::vector<int64_t> begins_;
};

// The same for some of the many values at each place: no two of them go to the same one.
void add_inner(const Back& back, const int64_t* offsets, int64_t first, int64_t last,
               const float* grad, const uint8_t* codes, float* to) {
  const Pool& pool = back.pool;
  const int64_t in = volume(pool.input), out = volume(pool.output);
  for (int64_t at = 0; at < in; ++at) {
    std::fill(to + at * pool.inner + first, to + at * pool.inner + last, 0.0f);
  }
  for (int64_t index = 0; index < out; ++index, grad += pool.inner, codes += pool.inner) {
    const int64_t right = index % pool.output[2], row = index / pool.output[2];
    const int64_t down = row % pool.output[1], deep = row / pool.output[1];
    const int64_t start = along(pool, 0, deep, 0) * pool.input[1] + along(pool, 1, down, 0);
    float* corner = to + (start * pool.input[2] + along(pool, 2, right, 0)) * pool.inner;
    for (int64_t c = first; c < last; ++c) {
      corner[offsets[codes[c] & back.mask] + c] += back.gated(grad[c], codes[c]);
    }
  }
  for (int64_t at = 0; back.is_rectified && at < in; ++at) {
    for (int64_t c = first; c < last; ++c) {
      float& sum = to[at * pool.inner + c];
      sum = kept(sum, !(sum < 0));
    }
  }
}

// Gives how far each place of a window lies behind its first one.
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
  const int64_t rows = pool->planes * pool->output[0] * pool->output[1];
#pragma omp parallel num_threads(threads) if (pool->planes * volume(pool->input) * pool->inner > kAlone)
  {
    const int64_t count = std::max(pool->output[2], pool->inner);
    std::vector<float> best(count);
    std::vector<float> place(count);
#pragma omp for schedule(static)
    for (int64_t index = 0; index < rows; ++index) {
      const Row row(*pool, x, index);
      const int64_t start = index * pool->output[2] * pool->inner;
      if (pool->inner == 1) {
        pool_row(*pool, row, best.data(), place.data());
        finish(best.data(), place.data(), pool->output[2], tells_open, values + start, switches + start);
        continue;
      }
      for (int64_t right = 0; right < pool->output[2]; ++right) {
        const int64_t at = start + right * pool->inner;
        pool_inner(*pool, row, right, best.data(), place.data());
        finish(best.data(), place.data(), pool->inner, tells_open, values + at, switches + at);
      }
    }
  }
}

// Sends gradients to the places that won. Nothing negative comes back if is_positive: it is left out
// before what comes back is summed up, or afterwards where windows overlap (is_summed).
void torchattr_unpool(const Pool* pool, const float* grad, const uint8_t* switches, float* result,
                      int tells_open, int needs_open, int is_positive, int is_summed, int threads) {
  const uint8_t mask = tells_open ? uint8_t(kOpen - 1) : uint8_t(0xff);
  const Gated gated(needs_open, is_positive && !is_summed);
  const Back back = {*pool, gated, mask, is_positive && is_summed};
  const int64_t in = volume(pool->input) * pool->inner, out = volume(pool->output) * pool->inner;
  const int64_t slices = (pool->inner + kSlice - 1) / kSlice;
  const std::vector<int64_t> offsets = all_offsets(*pool);
#pragma omp parallel num_threads(threads) if (pool->planes * in > kAlone)
  {
    Sums sums(back);
#pragma omp for schedule(static)
    for (int64_t item = 0; item < pool->planes * slices; ++item) {
      const int64_t plane = item / slices, first = item % slices * kSlice;
      const float* from = grad + plane * out;
      const uint8_t* codes = switches + plane * out;
      if (pool->inner == 1) {
        sums.plane(from, codes, result + plane * in);
      } else {
        const int64_t last = std::min(pool->inner, first + kSlice);
        add_inner(back, offsets.data(), first, last, from, codes, result + plane * in);
      }
    }
  }
}

}  // extern "C"
