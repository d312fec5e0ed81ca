// Gathering rows and pooling them, in vectors of channels.

#pragma once

#include "patches.h"

namespace {

constexpr int64_t kPooledRows = 32;

// NaN wins.
inline Vec larger(Vec most, Vec value) {
  return ((value > most) | (value != value)) ? value : most;
}

// Divisor of a mean: the elements including padding, or inside the image, or a fixed number.
struct Divisor {
  int64_t counts_padding, given;

  float of(const Patches& x, const Window& window, const Place& place) const {
    if (given > 0) return float(given);
    return float(along(window, 0, place.down, x.height) * along(window, 1, place.right, x.width));
  }

 private:
  int64_t along(const Window& window, int dim, int64_t place, int64_t size) const {
    const int64_t border = counts_padding ? window.padding[dim] : 0;
    const int64_t first = place * window.stride[dim] - window.padding[dim];
    return std::min(first + window.extent[dim], size + border) - std::max(first, -border);
  }
};

// The pixels of a window inside the image, row by row.
struct Sight {
  const float** pixels;
  int64_t* ends;  // of each row
  int64_t rows;

  void look(const Patches& x, const Window& window, const Place& place) {
    int64_t count = 0;
    rows = 0;
    for (int64_t i = 0; i < window.extent[0]; ++i) {
      const int64_t down = place.down * window.stride[0] - window.padding[0] + i * window.dilation[0];
      const int64_t left = place.right * window.stride[1] - window.padding[1];
      for (int64_t j = 0; j < window.extent[1]; ++j) {
        const float* at = pixel(x, place.variant, down, left + j * window.dilation[1]);
        if (at != nullptr) pixels[count++] = at;
      }
      ends[rows++] = count;
    }
  }

  Vec most(int64_t c, int64_t lanes) const {
    Vec result = all(-std::numeric_limits<float>::infinity());
    for (int64_t i = 0; i < ends[rows - 1]; ++i) result = larger(result, load(pixels[i] + c, lanes));
    return result;
  }

  // Sums of rows, then their sum: it rounds less than one long sum.
  Vec sum(int64_t c, int64_t lanes) const {
    Vec total = {};
    for (int64_t row = 0, i = 0; row < rows; ++row) {
      Vec part = {};
      for (; i < ends[row]; ++i) part += load(pixels[i] + c, lanes);
      total += part;
    }
    return total;
  }
};

}  // namespace

extern "C" {

void torchattr_gather(const Patches* x, const Wanted* wanted, int threads) {
  const Cut cut(wanted->rows, kPooledRows, threads);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t block = 0; block < cut.count; ++block) {
    Place place = place_of(*wanted, cut.first(block));
    for (int64_t row = cut.first(block); row < cut.last(block); ++row) {
      copy(wanted->result + row * x->channels,
           pixel(*x, place.variant, place.down, place.right), x->channels);
      advance(*wanted, place);
    }
  }
}

// A divisor of 0 means none.
void torchattr_pool(const Patches* x, const Wanted* wanted, const Window* window, int is_maximum,
                    int counts_padding, int64_t divisor, int threads) {
  const Cut cut(wanted->rows, kPooledRows, threads);
  const Divisor divisors = {counts_padding, divisor};
#pragma omp parallel num_threads(threads)
  {
    const std::unique_ptr<const float*[]> pixels(
        new const float*[window->extent[0] * window->extent[1]]);
    const std::unique_ptr<int64_t[]> ends(new int64_t[window->extent[0]]);
    Sight sight = {pixels.get(), ends.get(), 0};
#pragma omp for schedule(dynamic)
    for (int64_t block = 0; block < cut.count; ++block) {
      Place place = place_of(*wanted, cut.first(block));
      for (int64_t row = cut.first(block); row < cut.last(block); ++row) {
        sight.look(*x, *window, place);
        const Vec divided = all(divisors.of(*x, *window, place));
        for (int64_t c = 0; c < x->channels; c += kLanes) {
          const int64_t lanes = x->channels - c;
          const Vec value = is_maximum ? sight.most(c, lanes) : sight.sum(c, lanes) / divided;
          store(wanted->result + row * x->channels + c, value, lanes);
        }
        advance(*wanted, place);
      }
    }
  }
}

}  // extern "C"
