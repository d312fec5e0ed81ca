// A ReLU, optionally with the batch-norm before it, and the mask of what passes.
//
// Optional macros: STORES, the output is written, not only its mask; AFFINE, the
// input is first scaled and shifted; BOUNDED, there is an upper bound.
//
// Bytes moved for n elements of s bytes: n·s read, n·s written (with STORES), n/8 of mask written.
//
// `output` may be `x`: each element is read before it is written, by the same thread. So neither
// is declared `__restrict__`, nor read through the cache that assumes constant memory.

#include <channels.cuh>
#include <runs.cuh>

struct Rectifier {
    const float* scale;
    const float* shift;
    float upper;
    Channels channels;

    // Replaces an element by its output, and returns whether its gate is open.
    __device__ __forceinline__ bool apply(Raw& raw, float scale, float shift) const {
        float value = widened(raw);
#ifdef AFFINE
        // The stored value decides: it may have been rounded to zero.
        value = widened(narrowed(value * scale + shift));
#endif
        value = value <= 0.0f ? 0.0f : value;
        bool is_open = value > 0.0f;
#ifdef BOUNDED
        is_open = is_open && value < upper;
        value = value > upper ? upper : value;
#endif
        raw = narrowed(value);
        return is_open;
    }

    __device__ __forceinline__ unsigned apply(Vector& vector, long long first) const {
        float scales[VECTOR] = {}, shifts[VECTOR] = {};
#ifdef AFFINE
        channels.spread(scale, static_cast<Index>(first), scales);
        channels.spread(shift, static_cast<Index>(first), shifts);
#endif
        unsigned bits = 0;
#pragma unroll
        for (int i = 0; i < VECTOR; ++i)
            bits |= static_cast<unsigned>(apply(vector.at[i], scales[i], shifts[i])) << i;
        return bits;
    }

    __device__ __forceinline__ bool apply(Raw& raw, long long element) const {
#ifdef AFFINE
        const Index channel = channels.of(static_cast<Index>(element));
        return apply(raw, __ldg(scale + channel), __ldg(shift + channel));
#else
        return apply(raw, 0.0f, 0.0f);
#endif
    }
};

__device__ __forceinline__ void rectify_tile(
    const Raw* x, Raw* output, Byte* mask, long long first, const Rectifier& rectifier) {
    Vector vectors[ROUNDS];
    unsigned bits[ROUNDS];
#pragma unroll
    for (int round = 0; round < ROUNDS; ++round)
        vectors[round] = load_vector(x + first + (round * WARP + lane_of_thread()) * VECTOR);
#pragma unroll
    for (int round = 0; round < ROUNDS; ++round) {
        const long long at = first + (round * WARP + lane_of_thread()) * VECTOR;
        bits[round] = rectifier.apply(vectors[round], at);
#ifdef STORES
        store_vector(output + at, vectors[round]);
#endif
    }
    store_bits(mask + first / 8, bits);
}

__device__ __forceinline__ void rectify_elements(
    const Raw* x, Raw* output, Byte* mask, long long first, long long count,
    const Rectifier& rectifier) {
    const int lane = lane_of_thread();
    for (int round = 0; round < TILE / WARP; ++round) {
        const long long word = first + round * WARP;
        if (word >= count) return;
        const long long at = word + lane;
        bool is_open = false;
        if (at < count) {
            Raw raw = x[at];
            is_open = rectifier.apply(raw, at);
#ifdef STORES
            output[at] = raw;
#endif
        }
        const unsigned bits = __ballot_sync(EVERY_LANE, is_open);
        if (lane < WARP / 8 && word + lane * 8 < count)
            mask[word / 8 + lane] = static_cast<Byte>(bits >> 8 * lane);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) rectify(
    const Raw* x, Raw* output, Byte* __restrict__ mask, const float* __restrict__ scale,
    const float* __restrict__ shift, long long count, float upper, Channels channels) {
    const long long first = tile_of_warp();
    // The bound in the precision of an element.
    const Rectifier rectifier = {scale, shift, widened(narrowed(upper)), channels};
    if (first >= count) return;
    if (is_vectorised(first, count)) {
        rectify_tile(x, output, mask, first, rectifier);
    } else {
        rectify_elements(x, output, mask, first, count, rectifier);
    }
}
