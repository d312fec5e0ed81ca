// One scale and one shift per channel. Element i of a run is of channel i / step % channels.
//
// Macros, defined where they hold: ONE_CHANNEL, no vector crosses from one channel into the
// next (the step is a multiple of a vector); ADJACENT_CHANNELS, a vector's elements are of adjacent
// channels (the step is 1, and the number of channels is a multiple of a vector).
#pragma once

#include <elements.cuh>

struct Channels {
    Divisor step, count;

    __device__ __forceinline__ Index of(Index element) const {
        Index channel = step.quotient(element);
        return count.take(channel);
    }

    // Returns the channel of each element of a vector.
    __device__ __forceinline__ void of_vector(Index first, Index (&channels)[VECTOR]) const {
        Index rest = first;
        Index place = step.take(rest);
        Index channel = count.take(rest);
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) {
            channels[i] = channel;
            if (++place == static_cast<Index>(step.value)) {
                place = 0;
                if (++channel == static_cast<Index>(count.value)) channel = 0;
            }
        }
    }

    // Returns the value for each element of a vector, from caches that all blocks share.
    __device__ __forceinline__ void spread(
        const float* __restrict__ values, Index first, float (&into)[VECTOR]) const {
#if defined(ADJACENT_CHANNELS)
        const float4* from = reinterpret_cast<const float4*>(values + of(first));
#pragma unroll
        for (int i = 0; i < VECTOR / 4; ++i) {
            const float4 four = __ldg(from + i);
            into[4 * i] = four.x;
            into[4 * i + 1] = four.y;
            into[4 * i + 2] = four.z;
            into[4 * i + 3] = four.w;
        }
#elif defined(ONE_CHANNEL)
        const float value = __ldg(values + of(first));
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) into[i] = value;
#else
        Index channels[VECTOR];
        of_vector(first, channels);
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) into[i] = __ldg(values + channels[i]);
#endif
    }
};
