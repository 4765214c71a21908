// void tandem_sme2_pack_f32(const Pack *), _f16 of either halves, _i8: rows of contiguous k to slabs of contiguous
// positions, a transposition in ZA of words. Elements are loaded as such, so that what lies behind k becomes zero: slice i of
// the words' tile t is slice 2 i + t / 2 of the halves' tile t % 2 and slice 4 i + t of the bytes' one.
//
// ZA       za0 / za1: first / second VL rows of a group times VL k; za2 / za3 the next VL k.
// p1, p2   the k that exist of the first and the next VL, pn9 of both for f32; pn10, p0 all lanes.
// x0 Pack        x1 row pointers of the group   x2 groups left   x3 dst of the group   x4 end of k   x5 block's first k
// x6 next VL words' k   x7 x8 row pointers of both halves        x9-x11 1, 2, 3 dst steps
// x13 4 dst steps (B)   x14 dst   x15 words left to store   x17 k of VL words, slices of a tile
// x20-x23, x25, x26, x28, x30 rows   x27 VL
// Contract: see `Pack` in mod.rs.

.equ PACK_ROWS, 0
.equ PACK_FIRST, 8
.equ PACK_GROUPS, 16
.equ PACK_K, 24
.equ PACK_DST, 32
.equ PACK_STEP, 40
.equ PACK_GROUP, 48

// 2 VL k of four rows of words to two tiles, through vectors: a load of a slice takes as long as one of two vectors.
.macro LOAD_FOUR first, second, r0, r1, r2, r3
    ld1w {z0.s, z8.s}, pn9/z, [\r0, x5, lsl #2]
    ld1w {z1.s, z9.s}, pn9/z, [\r1, x5, lsl #2]
    ld1w {z2.s, z10.s}, pn9/z, [\r2, x5, lsl #2]
    ld1w {z3.s, z11.s}, pn9/z, [\r3, x5, lsl #2]
    mova \first\()h.s[w12, 0:3], {z0.s-z3.s}
    mova \second\()h.s[w12, 0:3], {z8.s-z11.s}
.endm
.macro LOAD_SLICES_f16 at, first, second
    ld1h {za0h.h[w12, 2 * \at]}, p1/z, [\first, x5, lsl #1]
    ld1h {za0h.h[w12, 2 * \at + 1]}, p2/z, [\first, x6, lsl #1]
    ld1h {za1h.h[w12, 2 * \at]}, p1/z, [\second, x5, lsl #1]
    ld1h {za1h.h[w12, 2 * \at + 1]}, p2/z, [\second, x6, lsl #1]
.endm

.macro LOAD_SLICES_i8 at, first, second
    ld1b {za0h.b[w12, 4 * \at]}, p1/z, [\first, x5]
    ld1b {za0h.b[w12, 4 * \at + 2]}, p2/z, [\first, x6]
    ld1b {za0h.b[w12, 4 * \at + 1]}, p1/z, [\second, x5]
    ld1b {za0h.b[w12, 4 * \at + 3]}, p2/z, [\second, x6]
.endm

// Up to VL words of two tiles, x15 of them, to dst.
.macro STORE_WORDS left, right
    mov w12, #0
    cmp x15, x27
    csel x16, x15, x27, lo
    subs x16, x16, #4
    b.lo 2f
1:  mova {z0.s-z3.s}, \left\()v.s[w12, 0:3]
    mova {z8.s-z11.s}, \right\()v.s[w12, 0:3]
    st1w {z0.s, z8.s}, pn10, [x14]
    st1w {z1.s, z9.s}, pn10, [x14, x9, lsl #2]
    st1w {z2.s, z10.s}, pn10, [x14, x10, lsl #2]
    st1w {z3.s, z11.s}, pn10, [x14, x11, lsl #2]
    add x14, x14, x13
    add w12, w12, #4
    subs x16, x16, #4
    b.hs 1b
2:  adds x16, x16, #4
    b.eq 4f
3:  st1w {\left\()v.s[w12, 0]}, p0, [x14]
    st1w {\right\()v.s[w12, 0]}, p0, [x14, x27, lsl #2]
    add x14, x14, x9, lsl #2
    add w12, w12, #1
    subs x16, x16, #1
    b.ne 3b
4:
.endm

// `t` are the lanes of an element, 2^`log` in a word.
.macro PACK element, t, log
FUNCTION tandem_sme2_pack_\element
    ENTER
    cntw x27
    lsl x17, x27, #\log
    ptrue p0.s
    ptrue pn10.s
    ldp x1, x5, [x0, #PACK_ROWS]
    ldp x2, x4, [x0, #PACK_GROUPS]
    ldr x3, [x0, #PACK_DST]
    add x4, x4, x5
    ldr x9, [x0, #PACK_STEP]
    lsl x10, x9, #1
    add x11, x10, x9
    lsl x13, x9, #4
10: // group of 2 VL rows
    mov x14, x3
    ldr x5, [x0, #PACK_FIRST]
    sub x15, x4, x5
.if \log
    add x15, x15, #(1 << \log) - 1
    lsr x15, x15, #\log
.endif
11: // 2 VL k
    add x6, x5, x17
.if \log
    whilelt p1.\t, x5, x4
    whilelt p2.\t, x6, x4
.else
    whilelt pn9.s, x5, x4, vlx2
.endif
    mov x7, x1
    add x8, x1, x27, lsl #3
    mov w12, #0
12: ldp x20, x21, [x7], #16
    ldp x22, x23, [x7], #16
    ldp x25, x26, [x8], #16
    ldp x28, x30, [x8], #16
.if \log
    LOAD_SLICES_\element 0, x20, x25
    LOAD_SLICES_\element 1, x21, x26
    LOAD_SLICES_\element 2, x22, x28
    LOAD_SLICES_\element 3, x23, x30
.else
    LOAD_FOUR za0, za2, x20, x21, x22, x23
    LOAD_FOUR za1, za3, x25, x26, x28, x30
.endif
    add w12, w12, #4 << \log
    cmp w12, w17
    b.lo 12b
    STORE_WORDS za0, za1
    subs x15, x15, x27
    b.ls 13f
    STORE_WORDS za2, za3
    add x5, x6, x17
    subs x15, x15, x27
    b.hi 11b
13: ldr x20, [x0, #PACK_GROUP]
    add x3, x3, x20, lsl #2
    add x1, x1, x27, lsl #4
    subs x2, x2, #1
    b.ne 10b
    LEAVE
END tandem_sme2_pack_\element
.endm

PACK f32, s, 0
PACK f16, h, 1
PACK i8, b, 2
