// A gradient propagated back through a ReLU, and through the batch-norm before it.
//
// Optional macros: MASKED, only where the mask is set; POSITIVE, only what is
// not negative (NaN passes, as through PyTorch's clamp); AFFINE, it is then scaled.
//
// Bytes moved for n elements of s bytes: n·s read, n·s written, n/8 of mask read (with MASKED).
//
// `result` may be `grad`: each element is read before it is written, by the same thread.

#include <channels.cuh>
#include <runs.cuh>

struct Gate {
    const float* scale;
    Channels channels;

    // Selected, not multiplied: infinity does not pass a closed gate as NaN.
    __device__ __forceinline__ Raw apply(Raw raw, bool is_open, float scale) const {
        float value = widened(raw);
#ifdef MASKED
        value = is_open ? value : 0.0f;
#endif
#ifdef POSITIVE
        value = value < 0.0f ? 0.0f : value;
#endif
#ifdef AFFINE
        value *= scale;
#endif
        return narrowed(value);
    }

    __device__ __forceinline__ void apply(Vector& vector, unsigned bits, long long first) const {
        float scales[VECTOR] = {};
#ifdef AFFINE
        channels.spread(scale, static_cast<Index>(first), scales);
#endif
#pragma unroll
        for (int i = 0; i < VECTOR; ++i)
            vector.at[i] = apply(vector.at[i], bits >> i & 1, scales[i]);
    }

    __device__ __forceinline__ Raw apply(Raw raw, bool is_open, long long element) const {
#ifdef AFFINE
        const Index channel = channels.of(static_cast<Index>(element));
        return apply(raw, is_open, __ldg(scale + channel));
#else
        return apply(raw, is_open, 0.0f);
#endif
    }
};

__device__ __forceinline__ void gate_tile(
    const Raw* grad, Raw* result, const Byte* __restrict__ mask, long long first,
    const Gate& gate) {
    Vector vectors[ROUNDS];
    unsigned bits[ROUNDS] = {};
#pragma unroll
    for (int round = 0; round < ROUNDS; ++round)
        vectors[round] = load_vector(grad + first + (round * WARP + lane_of_thread()) * VECTOR);
#ifdef MASKED
    load_bits(mask + first / 8, bits);
#endif
#pragma unroll
    for (int round = 0; round < ROUNDS; ++round) {
        const long long at = first + (round * WARP + lane_of_thread()) * VECTOR;
        gate.apply(vectors[round], bits[round], at);
        store_vector(result + at, vectors[round]);
    }
}

__device__ __forceinline__ void gate_elements(
    const Raw* grad, Raw* result, const Byte* __restrict__ mask, long long first, long long count,
    const Gate& gate) {
    for (int round = 0; round < TILE / WARP; ++round) {
        const long long at = first + round * WARP + lane_of_thread();
        if (at >= count) return;
        bool is_open = true;
#ifdef MASKED
        is_open = __ldg(mask + at / 8) >> at % 8 & 1;
#endif
        result[at] = gate.apply(grad[at], is_open, at);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) gate(
    const Raw* grad, Raw* result, const Byte* __restrict__ mask,
    const float* __restrict__ scale, long long count, Channels channels) {
    const long long first = tile_of_warp();
    const Gate gate = {scale, channels};
    if (first >= count) return;
    if (is_vectorised(first, count)) {
        gate_tile(grad, result, mask, first, gate);
    } else {
        gate_elements(grad, result, mask, first, count, gate);
    }
}
