// Conversions between float and the 16-bit types, without the headers of the CUDA toolkit: NVRTC
// ships without them.
#pragma once

__device__ __forceinline__ float float_of_half(unsigned short raw) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(raw));
    return value;
}

__device__ __forceinline__ unsigned short half_of_float(float value) {
    unsigned short raw;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(raw) : "f"(value));
    return raw;
}

__device__ __forceinline__ float float_of_bfloat(unsigned short raw) {
    return __uint_as_float(static_cast<unsigned>(raw) << 16);
}

__device__ __forceinline__ unsigned short bfloat_of_float(float value) {
#if __CUDA_ARCH__ >= 800
    unsigned short raw;
    // All of these devices have the instruction for pairs, but not the one for single values.
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(0.0f), "f"(value));
    raw = static_cast<unsigned short>(pair);
    return raw;
#else
    const unsigned bits = __float_as_uint(value);
    if (value != value) return 0x7fff;
    return static_cast<unsigned short>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
#endif
}
