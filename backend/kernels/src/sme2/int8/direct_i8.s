// void tandem_sme2_direct_i8(const Direct *): a panel of i8 weights times blocks of 2 VL positions of a slab of words, taps
// as offsets, VL = i32 of a streaming vector.
//
// ZA       za0 za1 / za2 za3: first / second VL channels of a block times first / second VL positions.
// Vectors  z0-z7 weights of four words, z16-z23 the slab's; of a block of channels z24 z25 pairs of sums, z26 z27 factors,
//          z28 z29 shifts; z12 z13 bounds, z14 zero point of the destination, z15 factors of the source's; at the end z0-z7
//          and z8-z11 sums, z16 z17 bytes.
// p0 all lanes, p1-p3 lanes to store, pn8 pn10 all lanes, pn9 the words of a block there are in the panel, pn11 its channels.
// x0 Direct        x1 weights of the block     x2 slab at the positions      x3 blocks of positions left   x5 channel in panel
// x6 channel       x7 row pointers             x8 run                        x9-x11 1, 2, 3 words of weights
// x13 4 of them (B)   x14-x16 1, 2, 3 steps    x17 4 steps (B)               x19 runs left, rows           x20-x23 rows, scratch
// x24 weights      x25 slab                    x26 words left, row pointers  x27 VL       x29 segments of the block, or not 0
// x30 2 VL
// Contract: see `Direct` in mod.rs.

.equ DIRECT_SLAB, 0
.equ DIRECT_STEP, 8
.equ DIRECT_BLOCKS, 16
.equ DIRECT_RUNS, 24
.equ DIRECT_WEIGHT, 40
.equ DIRECT_WIDTH, 48
.equ DIRECT_FIRST, 56
.equ DIRECT_COLUMNS, 64
.equ DIRECT_SUMS, 72
.equ DIRECT_FACTOR, 80
.equ DIRECT_SHIFT, 88
.equ DIRECT_ROWS, 96
.equ DIRECT_SEGMENTS, 104
.equ DIRECT_LOWER, 112
.equ DIRECT_UPPER, 116
.equ DIRECT_ZERO, 120
.equ DIRECT_SRC_ZERO, 124

// VL positions of both halves of the channels, a lane a channel, to i8: `to` is back to ZA or pixels.
.macro FINISH_I8 first, second, to
    mov w12, #0
1:  mova {z0.s-z3.s}, \first\()v.s[w12, 0:3]
    mova {z8.s-z11.s}, \second\()v.s[w12, 0:3]
    scvtf {z0.s-z3.s}, {z0.s-z3.s}
    scvtf {z8.s-z11.s}, {z8.s-z11.s}
    EACH8 COLUMN_STAGE
    frintn {z0.s-z3.s}, {z0.s-z3.s}
    frintn {z8.s-z11.s}, {z8.s-z11.s}
    fcvtzs {z0.s-z3.s}, {z0.s-z3.s}
    fcvtzs {z8.s-z11.s}, {z8.s-z11.s}
    sclamp {z0.s-z3.s}, z12.s, z13.s
    sclamp {z8.s-z11.s}, z12.s, z13.s
    add {z0.s-z3.s}, {z0.s-z3.s}, z14.s
    add {z8.s-z11.s}, {z8.s-z11.s}, z14.s
.ifc \to, za
    mova \first\()v.s[w12, 0:3], {z0.s-z3.s}
    mova \second\()v.s[w12, 0:3], {z8.s-z11.s}
.else
    ldp x20, x21, [x7], #16
    ldp x22, x23, [x7], #16
    st1b {z0.s}, p1, [x20, x6]
    st1b {z8.s}, p2, [x20, x25]
    st1b {z1.s}, p1, [x21, x6]
    st1b {z9.s}, p2, [x21, x25]
    st1b {z2.s}, p1, [x22, x6]
    st1b {z10.s}, p2, [x22, x25]
    st1b {z3.s}, p1, [x23, x6]
    st1b {z11.s}, p2, [x23, x25]
.endif
    add w12, w12, #4
    cmp w12, w27
    b.lo 1b
.endm

// The lanes of bytes from `first` to `end`.
.macro BETWEEN lanes, first, end
    whilelt \lanes\().b, xzr, \end
    whilelt p3.b, xzr, \first
    bic \lanes\().b, p0/z, \lanes\().b, p3.b
.endm

// The block's channels, each a plane, at the segments, the last one empty. Four vectors of ZA in a row are one of each
// tile: a channel of either half, which become the two halves of a vector of bytes.
.macro PLANES_I8
4:  ldp x20, x21, [x29], #16
    ldr x24, [x29], #8
    cbz x21, 6f
    BETWEEN p1, x20, x21
    add x20, x20, x30
    add x21, x21, x30
    BETWEEN p2, x20, x21
    sub x25, x24, x30
    mov x26, x7
    add x19, x7, x27, lsl #3
    mov w12, #0
1:  mova {z0.b-z3.b}, za0h.b[w12, 0:3]
    mova {z4.b-z7.b}, za0h.b[w12, 4:7]
    sqcvt z16.b, {z0.s-z3.s}
    sqcvt z17.b, {z4.s-z7.s}
    ldp x20, x21, [x26], #16
    ldp x22, x23, [x19], #16
    cbz x20, 4b
    st1b {z16.b}, p1, [x20, x24]
    cbz x22, 2f
    st1b {z16.b}, p2, [x22, x25]
2:  cbz x21, 4b
    st1b {z17.b}, p1, [x21, x24]
    cbz x23, 3f
    st1b {z17.b}, p2, [x23, x25]
3:  add w12, w12, #8
    cmp x27, x12, lsr #2
    b.hi 1b
    b 4b
6:
.endm

// What a block's channels need at the end.
.macro CHANNELS_I8
    ldp x20, x21, [x0, #DIRECT_SUMS]
    ldr x22, [x0, #DIRECT_SHIFT]
    ld1w {z24.s-z25.s}, pn11/z, [x20, x6, lsl #2]
    ld1w {z26.s-z27.s}, pn11/z, [x21, x6, lsl #2]
    ld1w {z28.s-z29.s}, pn11/z, [x22, x6, lsl #2]
    PAIR z24, z16
    PAIR z25, z16
.endm

FUNCTION tandem_sme2_direct_i8
    ENTER
    cntw x27
    lsl x30, x27, #1
    ptrue p0.b
    ptrue pn8.b
    ptrue pn10.b
    ldr x9, [x0, #DIRECT_WIDTH]
    ldr x14, [x0, #DIRECT_STEP]
    lsl x10, x9, #1
    add x11, x10, x9
    lsl x13, x9, #4
    lsl x15, x14, #1
    add x16, x15, x14
    lsl x17, x14, #4
    ld1rw {z12.s}, p0/z, [x0, #DIRECT_LOWER]
    ld1rw {z13.s}, p0/z, [x0, #DIRECT_UPPER]
    ld1rw {z14.s}, p0/z, [x0, #DIRECT_ZERO]
    ld1rw {z15.s}, p0/z, [x0, #DIRECT_SRC_ZERO]
    ldr x1, [x0, #DIRECT_WEIGHT]
    ldr x6, [x0, #DIRECT_FIRST]
    mov x5, #0
31: // block of 2 VL channels
    ldr x20, [x0, #DIRECT_COLUMNS]
    cmp x6, x20
    b.hs 90f
    sub x21, x9, x5
    whilelt pn9.s, xzr, x21, vlx2
    add x21, x21, x6
    cmp x20, x21
    csel x20, x20, x21, lo
    whilelt pn11.s, x6, x20, vlx2
    whilelt p1.s, x6, x20
    add x25, x6, x27
    whilelt p2.s, x25, x20
    CHANNELS_I8
    ldr x2, [x0, #DIRECT_SLAB]
    ldr x3, [x0, #DIRECT_BLOCKS]
    ldp x7, x29, [x0, #DIRECT_ROWS]
    cbz x29, 32f
    add x7, x7, x5, lsl #3
    b 33f
32: mov x29, x0
33: // block of 2 VL positions
    zero {za}
    OUTER_i16 z24, z25, z15, z15
    mov x24, x1
    ldp x8, x19, [x0, #DIRECT_RUNS]
    // Weights are packed where a word is the 2 VL channels that are used of it.
    cmp x9, x30
    b.ne 34f
    REDUCE i8, packed, strided
34: REDUCE i8, strided, strided
20: cmp x29, x0
    b.eq 35f
    FINISH_I8 za0, za2, za
    FINISH_I8 za1, za3, za
    PLANES_I8
    b 36f
35: add x25, x6, x27
    FINISH_I8 za0, za2, pixels
    FINISH_I8 za1, za3, pixels
36: add x2, x2, x27, lsl #3
    subs x3, x3, #1
    b.ne 33b
    add x1, x1, x27, lsl #3
    add x5, x5, x30
    add x6, x6, x30
    cmp x5, x9
    b.lo 31b
90: LEAVE
END tandem_sme2_direct_i8
