// Stands in for the package's own conversions, which are instructions of a GPU.
#pragma once

#include <cstring>

inline float float_of_half(unsigned short raw) {
    _Float16 half;
    std::memcpy(&half, &raw, sizeof half);
    return static_cast<float>(half);
}

inline unsigned short half_of_float(float value) {
    const _Float16 half = static_cast<_Float16>(value);
    unsigned short raw;
    std::memcpy(&raw, &half, sizeof raw);
    return raw;
}

inline float float_of_bfloat(unsigned short raw) {
    const unsigned bits = static_cast<unsigned>(raw) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline unsigned short bfloat_of_float(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) return 0x7fff;
    return static_cast<unsigned short>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
