// Depthwise convolutions and pools: vectors of channels, one strip of pixels at a time.

#pragma once

#include <type_traits>

#include "patches.h"

namespace {

constexpr int kStrip = 8;             // pixels whose sums are in registers
constexpr int64_t kStripsOfBlock = 8;
constexpr int64_t kAhead = 96;        // values prefetched before they are needed

// A strip of a row of the result: `count` adjacent pixels.
struct Strip {
  Place place;
  int64_t row;
  int count;
};

// The strips of boxes, one after the other.
class Strips {
 public:
  explicit Strips(const Wanted& wanted)
      : wanted_(wanted), firsts_(new int64_t[wanted.variants + 1]) {
    int64_t total = 0;
    for (int64_t i = 0; i < wanted.variants; ++i) {
      const int64_t* box = wanted.boxes + i * kColumns;
      firsts_[i] = total;
      total += (box[kBottom] - box[kTop]) * across(box);
    }
    firsts_[wanted.variants] = total;
  }

  int64_t count() const { return firsts_[wanted_.variants]; }

  Strip get(int64_t index) const {
    const int64_t* firsts = firsts_.get();
    const int64_t variant =
        std::upper_bound(firsts, firsts + wanted_.variants + 1, index) - firsts - 1;
    const int64_t* box = wanted_.boxes + variant * kColumns;
    const int64_t within = index - firsts[variant];
    const int64_t below = within / across(box), beside = within % across(box) * kStrip;
    const int64_t wide = box[kRight] - box[kLeft];
    return {{variant, box[kTop] + below, box[kLeft] + beside},
            box[kStart] + below * wide + beside,
            int(std::min<int64_t>(kStrip, wide - beside))};
  }

 private:
  static int64_t across(const int64_t* box) {
    return (box[kRight] - box[kLeft] + kStrip - 1) / kStrip;
  }

  const Wanted& wanted_;
  std::unique_ptr<int64_t[]> firsts_;
};

// Pointers that a strip reads and writes; pixels that do not exist read zeros and write to scratch.
struct Rows {
  const float** seen;  // [kernel row][pixel]
  int64_t pixels;
  const float* residual[kStrip];
  float* to[kStrip];
};

// Calls a function with each number from kFirst to kLast, a constant in each call.
template <int kFirst, int kLast, class Function>
__attribute__((always_inline)) inline void each(const Function& function) {
  if constexpr (kFirst < kLast) {
    function(std::integral_constant<int, kFirst>());
    each<kFirst + 1, kLast>(function);
  }
}

// kCount pixels at kStep with kWide taps in a row: each input is loaded once for all its outputs.
template <bool kPartial, int kCount, int kWide, int kStep>
__attribute__((always_inline)) inline void weigh_vector(const Rows& rows, int64_t high,
                                                        int64_t channels, int64_t c,
                                                        const float* weights, const After& after) {
  const int64_t lanes = kPartial ? channels - c : kLanes;
  const Vec bias = after.bias == nullptr ? Vec{} : load(after.bias + c, lanes);
  Vec sums[kCount];
  each<0, kCount>([&](auto i) {
    sums[i] = bias;
    __builtin_prefetch(rows.to[i] + c + kAhead, 1);
  });
  // The row of the kernel that no strip above has loaded into the cache.
  const float* const* fresh = rows.seen + (high - 1) * rows.pixels;
  each<0, (kCount - 1) * kStep + kWide>(
      [&](auto p) { __builtin_prefetch(fresh[p] + c + kAhead); });
  for (int64_t k = 0; k < high; ++k) {
    const float* const* seen = rows.seen + k * rows.pixels;
    const float* from = weights + k * kWide * channels + c;
    Vec taps[kWide];
    each<0, kWide>([&](auto j) { taps[j] = load(from + j * channels, lanes); });
    each<0, (kCount - 1) * kStep + kWide>([&](auto p) {
      const Vec value = load(seen[p] + c, lanes);
      each<0, kCount>([&](auto i) {
        constexpr int j = decltype(p)::value - decltype(i)::value * kStep;
        if constexpr (j >= 0 && j < kWide) sums[i] += value * taps[j];
      });
    });
  }
  const Vec lower = all(after.lower), upper = all(after.upper);
  each<0, kCount>([&](auto i) {
    Vec sum = sums[i];
    if (after.residual != nullptr) sum += load(rows.residual[i] + c, lanes);
    store(rows.to[i] + c, clamped(sum, lower, upper), lanes);
  });
}

template <int kCount, int kWide, int kStep>
void weigh_strip(const Rows& rows, int64_t high, int64_t channels, const float* weights,
                 const After& after) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    weigh_vector<false, kCount, kWide, kStep>(rows, high, channels, c, weights, after);
  }
  if (c < channels) {
    weigh_vector<true, kCount, kWide, kStep>(rows, high, channels, c, weights, after);
  }
}

// Any number of taps: `seen` has [kernel row][pixel][tap].
inline void weigh_any(const Rows& rows, int count, int64_t high, int64_t wide, int64_t channels,
                      const float* weights, const After& after) {
  const Vec lower = all(after.lower), upper = all(after.upper);
  for (int i = 0; i < count; ++i) {
    for (int64_t c = 0; c < channels; c += kLanes) {
      const int64_t lanes = channels - c;
      Vec sum = after.bias == nullptr ? Vec{} : load(after.bias + c, lanes);
      for (int64_t k = 0; k < high; ++k) {
        for (int64_t j = 0; j < wide; ++j) {
          const Vec tap = load(weights + (k * wide + j) * channels + c, lanes);
          sum += load(rows.seen[k * rows.pixels + i * wide + j] + c, lanes) * tap;
        }
      }
      if (after.residual != nullptr) sum += load(rows.residual[i] + c, lanes);
      store(rows.to[i] + c, clamped(sum, lower, upper), lanes);
    }
  }
}

using Weigh = void (*)(const Rows&, int64_t, int64_t, const float*, const After&);

template <int kWide, int kStep>
Weigh weigh_of(int count) {
  return count > 4 ? weigh_strip<8, kWide, kStep> : weigh_strip<4, kWide, kStep>;
}

// Returns null for sizes that are not compiled.
inline Weigh weigh_of(const Window& window, int count) {
  if (window.dilation[1] != 1) return nullptr;
  switch (window.extent[1] * 10 + window.stride[1]) {
    case 31: return weigh_of<3, 1>(count);
    case 32: return weigh_of<3, 2>(count);
    case 51: return weigh_of<5, 1>(count);
    case 52: return weigh_of<5, 2>(count);
    case 71: return weigh_of<7, 1>(count);
    default: return nullptr;
  }
}

// Looks up the pixels in the windows of a strip.
class Lookup {
 public:
  Lookup(const Patches& x, const Wanted& wanted, const Window& window, const After& after)
      : x_(x), wanted_(wanted), window_(window), after_(after),
        pixels_(std::max((kStrip - 1) * window.stride[1] + window.extent[1],
                         kStrip * window.extent[1])),
        seen_(new const float*[window.extent[0] * pixels_]),
        spare_(new float[2 * x.channels]()) {}

  Rows get(const Strip& strip, bool slides) const {
    Rows rows;
    rows.seen = seen_.get();
    rows.pixels = pixels_;
    for (int i = 0; i < kStrip; ++i) {
      const bool exists = i < strip.count;
      rows.to[i] = exists ? wanted_.result + (strip.row + i) * x_.channels : spare_.get();
      rows.residual[i] = zeros();
      if (exists && after_.residual != nullptr) {
        const Place& place = strip.place;
        rows.residual[i] = pixel(*after_.residual, place.variant, place.down, place.right + i);
      }
    }
    for (int64_t k = 0; k < window_.extent[0]; ++k) {
      slides ? look_along(strip, k) : look_at_each(strip, k);
    }
    return rows;
  }

 private:
  const float* zeros() const { return spare_.get() + x_.channels; }

  const float* look(const Strip& strip, int64_t k, int64_t right) const {
    const int64_t top = strip.place.down * window_.stride[0] - window_.padding[0];
    const float* at = pixel(x_, strip.place.variant, top + k * window_.dilation[0], right);
    return at == nullptr ? zeros() : at;
  }

  void look_along(const Strip& strip, int64_t k) const {
    const int64_t left = strip.place.right * window_.stride[1] - window_.padding[1];
    const int64_t count = (strip.count - 1) * window_.stride[1] + window_.extent[1];
    for (int64_t p = 0; p < pixels_; ++p) {
      seen_[k * pixels_ + p] = p < count ? look(strip, k, left + p) : zeros();
    }
  }

  void look_at_each(const Strip& strip, int64_t k) const {
    for (int i = 0; i < strip.count; ++i) {
      const int64_t left = (strip.place.right + i) * window_.stride[1] - window_.padding[1];
      for (int64_t j = 0; j < window_.extent[1]; ++j) {
        seen_[k * pixels_ + i * window_.extent[1] + j] =
            look(strip, k, left + j * window_.dilation[1]);
      }
    }
  }

  const Patches& x_;
  const Wanted& wanted_;
  const Window& window_;
  const After& after_;
  int64_t pixels_;
  std::unique_ptr<const float*[]> seen_;
  std::unique_ptr<float[]> spare_;
};

}  // namespace

// The weights are (height, width, channels).
extern "C" void torchattr_depthwise(const Patches* x, const Wanted* wanted, const Window* window,
                                    const float* weights, const After* after, int threads) {
  const Strips strips(*wanted);
  const Cut cut(strips.count(), kStripsOfBlock, threads);
#pragma omp parallel num_threads(threads)
  {
    const Lookup lookup(*x, *wanted, *window, *after);
#pragma omp for schedule(dynamic)
    for (int64_t block = 0; block < cut.count; ++block) {
      for (int64_t i = cut.first(block); i < cut.last(block); ++i) {
        const Strip strip = strips.get(i);
        const Weigh weigh = weigh_of(*window, strip.count);
        const Rows rows = lookup.get(strip, weigh != nullptr);
        if (weigh != nullptr) {
          weigh(rows, window->extent[0], x->channels, weights, *after);
        } else {
          weigh_any(rows, strip.count, window->extent[0], window->extent[1], x->channels, weights,
                    *after);
        }
      }
    }
  }
}
