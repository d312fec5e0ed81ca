// ReLUs with their masks on a CPU, in one pass over memory, for contiguous runs of float32.
//
// Eight elements share a byte of the mask. Work is split into blocks that stay in the cache and
// are shared between threads by the OpenMP runtime that PyTorch has loaded, so that there is one
// thread pool.

#include <cmath>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

constexpr int64_t kBlock = 1 << 13;   // elements of a block: 32 KiB
constexpr int64_t kAlone = 1 << 15;   // up to this many elements, waking threads costs more

#if defined(__AVX2__)

// Returns the ReLU of eight elements, and the bits of those that pass; NaN stays NaN.
template <bool kBounded>
inline uint8_t rectify_eight(const float* x, float* y, float upper) {
  const __m256 zero = _mm256_setzero_ps(), value = _mm256_loadu_ps(x);
  __m256 passes = _mm256_cmp_ps(value, zero, _CMP_GT_OQ);
  __m256 result = _mm256_andnot_ps(_mm256_cmp_ps(value, zero, _CMP_LE_OQ), value);
  if (kBounded) {
    const __m256 bound = _mm256_set1_ps(upper);
    passes = _mm256_and_ps(passes, _mm256_cmp_ps(value, bound, _CMP_LT_OQ));
    result = _mm256_min_ps(bound, result);  // returns the second operand if one is NaN
  }
  if (y != nullptr) _mm256_storeu_ps(y, result);
  return static_cast<uint8_t>(_mm256_movemask_ps(passes));
}

template <bool kMasked, bool kSigned>
inline void gate_eight(const float* grad, float* result, uint8_t bits) {
  __m256 value = _mm256_loadu_ps(grad);
  if (kSigned) {
    value = _mm256_andnot_ps(_mm256_cmp_ps(value, _mm256_setzero_ps(), _CMP_LT_OQ), value);
  }
  if (kMasked) {
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi32(bits), each);
    value = _mm256_and_ps(value, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, each)));
  }
  _mm256_storeu_ps(result, value);
}

#endif

template <bool kBounded>
inline bool rectify_one(const float* x, float* y, float upper) {
  const float value = *x;
  const float above = value <= 0 ? 0.0f : value;
  if (y != nullptr) *y = kBounded && above > upper ? upper : above;
  return value > 0 && (!kBounded || value < upper);
}

template <bool kMasked, bool kSigned>
inline void gate_one(const float* grad, float* result, bool open) {
  const float value = kSigned && *grad < 0 ? 0.0f : *grad;
  *result = !kMasked || open ? value : 0.0f;
}

template <bool kBounded>
void rectify_block(const float* x, float* y, uint8_t* mask, int64_t n, float upper) {
  int64_t i = 0;
#if defined(__AVX2__)
  for (; i + 8 <= n; i += 8) {
    mask[i / 8] = rectify_eight<kBounded>(x + i, y == nullptr ? nullptr : y + i, upper);
  }
#endif
  for (; i < n; i += 8) {
    uint8_t bits = 0;
    for (int64_t j = i; j < i + 8 && j < n; ++j) {
      bits |= rectify_one<kBounded>(x + j, y == nullptr ? nullptr : y + j, upper) << (j - i);
    }
    mask[i / 8] = bits;
  }
}

template <bool kMasked, bool kSigned>
void gate_block(const float* grad, float* result, const uint8_t* mask, int64_t n) {
  int64_t i = 0;
#if defined(__AVX2__)
  for (; i + 8 <= n; i += 8) {
    gate_eight<kMasked, kSigned>(grad + i, result + i, kMasked ? mask[i / 8] : 0);
  }
#endif
  for (; i < n; ++i) {
    gate_one<kMasked, kSigned>(grad + i, result + i, kMasked && (mask[i / 8] >> (i % 8)) & 1);
  }
}

// Multiplies elements [start, start + n) of a run by the value of their channel, i / step % count.
void scale_block(float* values, const float* scale, int64_t start, int64_t n, int64_t step,
                 int64_t count) {
  int64_t channel = start / step % count, left = step - start % step;
  for (int64_t i = 0; i < n;) {
    const int64_t here = left < n - i ? left : n - i;
    const float factor = scale[channel];
    for (int64_t j = i; j < i + here; ++j) values[j] *= factor;
    i += here;
    left = step;
    channel = channel + 1 == count ? 0 : channel + 1;
  }
}

template <bool kBounded>
void rectify(const float* x, float* y, uint8_t* mask, int64_t n, float upper, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (n > kAlone)
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t here = kBlock < n - start ? kBlock : n - start;
    float* into = y == nullptr ? nullptr : y + start;
    rectify_block<kBounded>(x + start, into, mask + start / 8, here, upper);
  }
}

template <bool kMasked, bool kSigned>
void gate(const float* grad, float* result, const uint8_t* mask, int64_t n, const float* scale,
          int64_t step, int64_t count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (n > kAlone)
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t here = kBlock < n - start ? kBlock : n - start;
    gate_block<kMasked, kSigned>(grad + start, result + start,
                                 kMasked ? mask + start / 8 : nullptr, here);
    if (scale != nullptr) scale_block(result + start, scale, start, here, step, count);
  }
}

}  // namespace

extern "C" {

// Writes the ReLU of run x into y (which may be x) and the mask; without y, the mask alone.
// A bound of infinity means none.
void torchattr_rectify(const float* x, float* y, uint8_t* mask, int64_t n, float upper,
                       int threads) {
  if (std::isinf(upper)) {
    rectify<false>(x, y, mask, n, upper, threads);
  } else {
    rectify<true>(x, y, mask, n, upper, threads);
  }
}

// Writes into result (which may be grad) what passes the mask (if given) and, if is_signed, is not
// negative; with a scale, multiplied by the value of its channel.
void torchattr_gate(const float* grad, float* result, const uint8_t* mask, int64_t n,
                    int is_signed, const float* scale, int64_t step, int64_t count, int threads) {
  if (mask != nullptr && is_signed) {
    gate<true, true>(grad, result, mask, n, scale, step, count, threads);
  } else if (mask != nullptr) {
    gate<true, false>(grad, result, mask, n, scale, step, count, threads);
  } else if (is_signed) {
    gate<false, true>(grad, result, mask, n, scale, step, count, threads);
  } else {
    gate<false, false>(grad, result, mask, n, scale, step, count, threads);
  }
}

}  // extern "C"
