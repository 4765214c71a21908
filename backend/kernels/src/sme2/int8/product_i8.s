// void tandem_sme2_product_i8(const ProductI8 *): groups of 2 VL positions times panels of columns, i8 or i4 times i8,
// VL = i32 of a streaming vector.
//
// ZA       za0 za1 / za2 za3: first / second VL positions of a group times first / second VL columns of a block.
// Vectors  z0-z7 lhs of four words of k, z16-z23 rhs of the same; of a block z24 z25 pairs of column sums, z26 z27 scale,
//          z28 z29 bias. z12 z13 clamp, z14 the destination's scale; at the end z0-z3 and z8-z11 sums, z4 scales of rows.
// p0 all lanes, pn8 the block's columns, pn9 the bytes of a block there are in a panel, pn10 all lanes.
// x0 ProductI8      x1 lhs of the group       x2 rhs of the block    x3 groups left   x4 panels left   x5 column in panel
// x6 column         x7 row pointers           x8 params of the group x9 words of rhs  x10 destination's scale
// x14 bytes from one word of rhs to the next  x15 whether rhs is i4  x19 scales       x20-x23 scratch  x24 lhs  x25 rhs
// x26 words left    x27 VL                    x28 rhs of the panel   x30 whether the block is all there is of a word
// Contract: see `ProductI8` in mod.rs.

.equ I8_LHS, 0
.equ I8_LHS_GROUP, 8
.equ I8_GROUPS, 16
.equ I8_WORDS, 24
.equ I8_RHS, 32
.equ I8_RHS_PANEL, 40
.equ I8_PANELS, 48
.equ I8_WIDTH, 56
.equ I8_NIBBLES, 64
.equ I8_ROWS, 72
.equ I8_FIRST, 80
.equ I8_COLUMNS, 88
.equ I8_PARAMS, 96
.equ I8_SUMS, 104
.equ I8_SCALE, 112
.equ I8_BIAS, 120
.equ I8_CLAMP, 128
.equ I8_DST_SCALE, 136

// Four words of both operands, `at` vectors on.
.macro WORDS4_I8 at0, at4
    ld1b {z0.b-z3.b}, pn10/z, [x24, #\at0, mul vl]
    ld1b {z16.b-z19.b}, pn10/z, [x25, #\at0, mul vl]
    ld1b {z4.b-z7.b}, pn10/z, [x24, #\at4, mul vl]
    ld1b {z20.b-z23.b}, pn10/z, [x25, #\at4, mul vl]
    OUTER_i8 z0, z1, z16, z17
    OUTER_i8 z2, z3, z18, z19
    OUTER_i8 z4, z5, z20, z21
    OUTER_i8 z6, z7, z22, z23
.endm

// A word of nibbles times 16: the low ones first in k.
.macro NIBBLES low, both
    lsl \low\().b, \both\().b, #4
    and \both\().b, \both\().b, #0xf0
.endm

// Two words of nibbles, four of k.
.macro WORDS2_I4 lhs0, lhs4, rhs
    ld1b {z16.b-z19.b}, pn10/z, [x25, #\rhs, mul vl]
    ld1b {z0.b-z3.b}, pn10/z, [x24, #\lhs0, mul vl]
    ld1b {z4.b-z7.b}, pn10/z, [x24, #\lhs4, mul vl]
    NIBBLES z20, z16
    NIBBLES z21, z17
    NIBBLES z22, z18
    NIBBLES z23, z19
    OUTER_i8 z0, z1, z20, z21
    OUTER_i8 z2, z3, z16, z17
    OUTER_i8 z4, z5, z22, z23
    OUTER_i8 z6, z7, z18, z19
.endm

.macro REDUCE_I8
    subs x26, x9, #8
    b.lo 2f
    cbz x30, 2f
1:  WORDS4_I8 0, 4
    WORDS4_I8 8, 12
    addvl x24, x24, #16
    addvl x25, x25, #16
    subs x26, x26, #8
    b.hs 1b
2:  adds x26, x26, #8
    b.eq 4f
3:  ld1b {z0.b-z1.b}, pn10/z, [x24]
    ld1b {z16.b-z17.b}, pn9/z, [x25]
    addvl x24, x24, #2
    add x25, x25, x14
    OUTER_i8 z0, z1, z16, z17
    subs x26, x26, #1
    b.ne 3b
4:
.endm

.macro REDUCE_I4
    subs x26, x9, #4
    b.lo 2f
    cbz x30, 2f
1:  WORDS2_I4 0, 4, 0
    WORDS2_I4 8, 12, 4
    addvl x24, x24, #16
    addvl x25, x25, #8
    subs x26, x26, #4
    b.hs 1b
2:  adds x26, x26, #4
    b.eq 4f
3:  ld1b {z0.b-z3.b}, pn10/z, [x24]
    ld1b {z16.b-z17.b}, pn9/z, [x25]
    NIBBLES z20, z16
    NIBBLES z21, z17
    addvl x24, x24, #4
    add x25, x25, x14
    OUTER_i8 z0, z1, z20, z21
    OUTER_i8 z2, z3, z16, z17
    subs x26, x26, #1
    b.ne 3b
4:
.endm

// Column sums as pairs that, times a pair of factors of the zero point, are what it adds: the low 7 bits and the rest.
.macro PAIR sums, low
    mov \low\().d, \sums\().d
    and \low\().s, \low\().s, #0x7f
    asr \sums\().s, \sums\().s, #7
    lsl \sums\().s, \sums\().s, #16
    orr \sums\().d, \sums\().d, \low\().d
.endm

.macro EACH8 op
    \op z0, z26, z28
    \op z1, z26, z28
    \op z2, z26, z28
    \op z3, z26, z28
    \op z8, z27, z29
    \op z9, z27, z29
    \op z10, z27, z29
    \op z11, z27, z29
.endm
.macro COLUMN_STAGE x, scale, bias
    fmad \x\().s, p0/m, \scale\().s, \bias\().s
.endm
.macro DST_STAGE x, scale, bias
    fmul \x\().s, \x\().s, z14.s
.endm

// Two tiles to VL rows; `fixed` quantises them on the way.
.macro STORE_I8 left, right, fixed
    mov w12, #0
1:  mova {z0.s-z3.s}, \left\()h.s[w12, 0:3]
    mova {z8.s-z11.s}, \right\()h.s[w12, 0:3]
    scvtf {z0.s-z3.s}, {z0.s-z3.s}
    scvtf {z8.s-z11.s}, {z8.s-z11.s}
.ifc \fixed, no
    ld1rqw {z4.s}, p0/z, [x19]
    add x19, x19, #16
    fmul z0.s, z0.s, z4.s[0]
    fmul z1.s, z1.s, z4.s[1]
    fmul z2.s, z2.s, z4.s[2]
    fmul z3.s, z3.s, z4.s[3]
    fmul z8.s, z8.s, z4.s[0]
    fmul z9.s, z9.s, z4.s[1]
    fmul z10.s, z10.s, z4.s[2]
    fmul z11.s, z11.s, z4.s[3]
.endif
    EACH8 COLUMN_STAGE
.ifc \fixed, yes
    frintn {z0.s-z3.s}, {z0.s-z3.s}
    frintn {z8.s-z11.s}, {z8.s-z11.s}
.endif
    fmax {z0.s-z3.s}, {z0.s-z3.s}, z12.s
    fmax {z8.s-z11.s}, {z8.s-z11.s}, z12.s
    fmin {z0.s-z3.s}, {z0.s-z3.s}, z13.s
    fmin {z8.s-z11.s}, {z8.s-z11.s}, z13.s
.ifc \fixed, yes
    EACH8 DST_STAGE
.endif
    ldp x20, x21, [x7], #16
    ldp x22, x23, [x7], #16
    st1w {z0.s, z8.s}, pn8, [x20, x6, lsl #2]
    st1w {z1.s, z9.s}, pn8, [x21, x6, lsl #2]
    st1w {z2.s, z10.s}, pn8, [x22, x6, lsl #2]
    st1w {z3.s, z11.s}, pn8, [x23, x6, lsl #2]
    add w12, w12, #4
    cmp w12, w27
    b.lo 1b
.endm

// What a block's columns need at the end.
.macro COLUMNS_I8
    ldp x20, x21, [x0, #I8_SUMS]
    ld1w {z24.s-z25.s}, pn8/z, [x20, x6, lsl #2]
    ld1w {z26.s-z27.s}, pn8/z, [x21, x6, lsl #2]
    cbz x15, 1f
    lsl z24.s, z24.s, #4
    lsl z25.s, z25.s, #4
    FLOAT z16, 0x3d800000 // 1/16
    fmul z26.s, z26.s, z16.s
    fmul z27.s, z27.s, z16.s
1:  PAIR z24, z16
    PAIR z25, z16
    mov z28.s, #0
    mov z29.s, #0
    ldr x20, [x0, #I8_BIAS]
    cbz x20, 2f
    ld1w {z28.s-z29.s}, pn8/z, [x20, x6, lsl #2]
2:
.endm

FUNCTION tandem_sme2_product_i8
    ENTER
    cntw x27
    ptrue p0.b
    ptrue pn10.b
    ldr x9, [x0, #I8_WORDS]
    ldr x14, [x0, #I8_WIDTH]
    lsl x14, x14, #2
    ldr x15, [x0, #I8_NIBBLES]
    ldp x20, x10, [x0, #I8_CLAMP]
    ld1rw {z12.s}, p0/z, [x20]
    ld1rw {z13.s}, p0/z, [x20, #4]
    cbz x10, 30f
    ld1rw {z14.s}, p0/z, [x10]
30: ldr x28, [x0, #I8_RHS]
    ldr x4, [x0, #I8_PANELS]
    ldr x6, [x0, #I8_FIRST]
31: // panel
    mov x2, x28
    mov x5, #0
32: // block of 2 VL columns
    ldr x20, [x0, #I8_COLUMNS]
    cmp x6, x20
    b.hs 90f
    ldr x21, [x0, #I8_WIDTH]
    sub x21, x21, x5
    lsl x22, x21, #2
    whilelt pn9.b, xzr, x22, vlx2
    add x21, x21, x6
    cmp x20, x21
    csel x20, x20, x21, lo
    whilelt pn8.s, x6, x20, vlx2
    COLUMNS_I8
    ldr x1, [x0, #I8_LHS]
    ldr x3, [x0, #I8_GROUPS]
    ldr x7, [x0, #I8_ROWS]
    ldr x8, [x0, #I8_PARAMS]
    cmp x14, x27, lsl #3
    cset x30, eq
33: // group of 2 VL positions
    zero {za}
    ld1w {z4.s-z5.s}, pn10/z, [x8, #6, mul vl]
    OUTER_i16 z4, z5, z24, z25
    mov x24, x1
    mov x25, x2
    cbnz x15, 34f
    REDUCE_I8
    b 35f
34: REDUCE_I4
35: cbnz x10, 36f
    addvl x19, x8, #4
    STORE_I8 za0, za1, no
    STORE_I8 za2, za3, no
    b 37f
36: STORE_I8 za0, za1, yes
    STORE_I8 za2, za3, yes
37: addvl x8, x8, #8
    ldr x20, [x0, #I8_LHS_GROUP]
    add x1, x1, x20
    subs x3, x3, #1
    b.ne 33b
    // Next block: of this panel, or of the next.
    lsl x20, x27, #1
    ldr x21, [x0, #I8_WIDTH]
    sub x22, x21, x5
    cmp x20, x22
    csel x20, x20, x22, lo
    add x2, x2, x20, lsl #2
    add x5, x5, x20
    add x6, x6, x20
    cmp x5, x21
    b.lo 32b
    ldr x20, [x0, #I8_RHS_PANEL]
    add x28, x28, x20
    subs x4, x4, #1
    b.ne 31b
90: LEAVE
END tandem_sme2_product_i8
