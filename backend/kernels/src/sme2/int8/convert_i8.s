// void tandem_sme2_f32_to_i8(const Convert *), void tandem_sme2_i8_to_f32(const Convert *): rows of neighbours, four
// vectors of f32 at a time; factors are applied in ZA, as arithmetic on single vectors is slow in streaming mode.
//
// ZA       vgx4 groups (w8 = 0) 0-3: products of four blocks.
// Vectors  z0-z3 a block; z12 factor; z13 zero point, or less it; z14 z15 bounds that leave room for any zero point;
//          z16-z19 i8 of four blocks; z4 z5 scratch.
// p1 bytes of the last block, pn8 its f32, pn10 all lanes, p0 all lanes.
// x0 Convert   x1 x2 src and dst of the row   x3 elements   x4 rows left   x5 x6 bytes between rows
// x9 element   x10 bytes of a vector = f32 of a block   x11 elements left   x13 x14 src and dst of the block   x20 scratch
// Contract: see `Convert` in mod.rs.

.macro CONVERT src, dst
    ENTER
    ldp x1, x2, [x0]
    ldp x3, x4, [x0, #16]
    ldp x5, x6, [x0, #32]
    lsl x5, x5, #\src
    lsl x6, x6, #\dst
    ptrue p0.b
    ptrue pn10.b
    ld1rw {z12.s}, p0/z, [x0, #48]
    ld1rw {z13.s}, p0/z, [x0, #52]
    mov w8, #0
    cntb x10
.endm

// A block to i8, by group `at` of ZA.
.macro TO_I8 at, to
    fmla za.s[w8, \at, vgx4], {z0.s-z3.s}, z12.s
    mova {z0.d-z3.d}, za.d[w8, \at, vgx4]
    frintn {z0.s-z3.s}, {z0.s-z3.s}
    fcvtzs {z0.s-z3.s}, {z0.s-z3.s}
    sclamp {z0.s-z3.s}, z14.s, z15.s
    add {z0.s-z3.s}, {z0.s-z3.s}, z13.s
    sqcvt \to\().b, {z0.s-z3.s}
.endm

.macro BLOCK_TO_I8 at, load, to
    ld1w {z0.s-z3.s}, pn10/z, [x13, #\load, mul vl]
    TO_I8 \at, \to
.endm

// A block from i8.
.macro FROM_I8 at, from
    sunpk {z4.h-z5.h}, \from\().b
    sunpk {z0.s-z3.s}, {z4.h-z5.h}
    add {z0.s-z3.s}, {z0.s-z3.s}, z13.s
    scvtf {z0.s-z3.s}, {z0.s-z3.s}
    fmla za.s[w8, \at, vgx4], {z0.s-z3.s}, z12.s
    mova {z0.d-z3.d}, za.d[w8, \at, vgx4]
.endm

.macro BLOCK_FROM_I8 at, store, from
    FROM_I8 \at, \from
    st1w {z0.s-z3.s}, pn10, [x14, #\store, mul vl]
.endm

// Blocks by fours, then one by one, then the next row; `four` and `one` name what to do with them.
.macro CONVERT_ROWS four, one, src, dst
1:  mov x13, x1
    mov x14, x2
    subs x11, x3, x10, lsl #2
    b.lo 3f
2:  zero {za}
    \four
    add x13, x13, x10, lsl #(\src + 2)
    add x14, x14, x10, lsl #(\dst + 2)
    subs x11, x11, x10, lsl #2
    b.hs 2b
3:  adds x11, x11, x10, lsl #2
    b.eq 5f
    mov x9, #0
4:  whilelt pn8.s, x9, x11, vlx4
    b.none 5f
    whilelt p1.b, x9, x11
    zero {za}
    \one
    add x9, x9, x10
    b 4b
5:  add x1, x1, x5
    add x2, x2, x6
    subs x4, x4, #1
    b.ne 1b
    LEAVE
.endm

.macro FOUR_TO_I8
    BLOCK_TO_I8 0, 0, z16
    BLOCK_TO_I8 1, 4, z17
    BLOCK_TO_I8 2, 8, z18
    BLOCK_TO_I8 3, 12, z19
    st1b {z16.b-z19.b}, pn10, [x14]
.endm
.macro ONE_TO_I8
    ld1w {z0.s-z3.s}, pn8/z, [x13, x9, lsl #2]
    TO_I8 0, z16
    st1b {z16.b}, p1, [x14, x9]
.endm

.macro FOUR_FROM_I8
    ld1b {z16.b-z19.b}, pn10/z, [x13]
    BLOCK_FROM_I8 0, 0, z16
    BLOCK_FROM_I8 1, 4, z17
    BLOCK_FROM_I8 2, 8, z18
    BLOCK_FROM_I8 3, 12, z19
.endm
.macro ONE_FROM_I8
    ld1b {z16.b}, p1/z, [x13, x9]
    FROM_I8 0, z16
    st1w {z0.s-z3.s}, pn8, [x14, x9, lsl #2]
.endm

FUNCTION tandem_sme2_f32_to_i8
    CONVERT 2, 0
    mov z14.s, #-512
    mov z15.s, #512
    CONVERT_ROWS FOUR_TO_I8, ONE_TO_I8, 2, 0
END tandem_sme2_f32_to_i8

FUNCTION tandem_sme2_i8_to_f32
    CONVERT 0, 2
    subr z13.s, z13.s, #0
    CONVERT_ROWS FOUR_FROM_I8, ONE_FROM_I8, 0, 2
END tandem_sme2_i8_to_f32
