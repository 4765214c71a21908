// void tandem_sme2_product_i4_groups(const ProductGroups *): groups of 2 VL positions times panels of columns, i8 times i4
// whose columns have a scale for every few k, VL = i32 of a streaming vector.
//
// ZA       za0 / za1: sums of the k of one scale, first / second VL positions of a group times VL columns, as i32;
//          za2 / za3: the same of all k, as f32. Vector b of the array belongs to tile b % 4, so four vectors of a tile,
//          VL apart, become f32 and are added to those of another tile where they stand.
// Vectors  z0-z11 z20-z23 lhs, z16-z19 rhs and z24-z27 its low halves; z14 scales of k; of a block z28 bias, z29 column sums;
//          z12 z13 clamp, z30 1/16.
// p0 all lanes, p1 the block's columns, p2 the bytes of a block there are in a panel, pn10 all lanes.
// x0 ProductGroups   x1 lhs of the group   x2 rhs of the block   x3 groups left   x4 panels left   x5 column in panel
// x6 column          x7 row pointers       w8 w12 slices         x9 scales of k   x10 words / 4 of a scale
// x11 bytes from one scale of k to the next   x13-x17 4, 1, -, 2, 3 words of rhs (B)   x15 scales left   x19 scales, rows'
// x20-x23 scratch    x24 lhs   x25 rhs     x26 words / 4 left    x27 VL           x28 rhs of the panel
// x29 scales of the block      x30 parameters of the group
// Contract: see `ProductGroups` in mod.rs.

.equ GROUPS_SCALE_STEP, 144
.equ GROUPS_SCALE_WORDS, 152
.equ GROUPS_SUMS, 160

.macro WORD_I4 a0, a1, a2, a3, low, both
    smopa za0.s, p0/m, p0/m, \a0\().b, \low\().b
    smopa za1.s, p0/m, p0/m, \a1\().b, \low\().b
    smopa za0.s, p0/m, p0/m, \a2\().b, \both\().b
    smopa za1.s, p0/m, p0/m, \a3\().b, \both\().b
.endm

// Sums of the k of one scale to those of all.
.macro FOLD
    mov w8, #0
1:  mova {z0.d-z3.d}, za.d[w8, 0, vgx4]
    mova {z4.d-z7.d}, za.d[w8, 1, vgx4]
    scvtf {z0.s-z3.s}, {z0.s-z3.s}
    scvtf {z4.s-z7.s}, {z4.s-z7.s}
    fmla za.s[w8, 2, vgx4], {z0.s-z3.s}, z14.s
    fmla za.s[w8, 3, vgx4], {z4.s-z7.s}, z14.s
    add w8, w8, #4
    cmp w8, w27
    b.lo 1b
.endm

// A tile to VL rows.
.macro STORE_GROUPS tile
    mov w12, #0
1:  mova {z0.s-z3.s}, \tile\()h.s[w12, 0:3]
    ld1rqw {z4.s}, p0/z, [x19]
    add x19, x19, #16
    fmul z4.s, z4.s, z30.s
    fmul z0.s, z0.s, z4.s[0]
    fmul z1.s, z1.s, z4.s[1]
    fmul z2.s, z2.s, z4.s[2]
    fmul z3.s, z3.s, z4.s[3]
    fadd z0.s, z0.s, z28.s
    fadd z1.s, z1.s, z28.s
    fadd z2.s, z2.s, z28.s
    fadd z3.s, z3.s, z28.s
    fmax {z0.s-z3.s}, {z0.s-z3.s}, z12.s
    fmin {z0.s-z3.s}, {z0.s-z3.s}, z13.s
    ldp x20, x21, [x7], #16
    ldp x22, x23, [x7], #16
    st1w {z0.s}, p1, [x20, x6, lsl #2]
    st1w {z1.s}, p1, [x21, x6, lsl #2]
    st1w {z2.s}, p1, [x22, x6, lsl #2]
    st1w {z3.s}, p1, [x23, x6, lsl #2]
    add w12, w12, #4
    cmp w12, w27
    b.lo 1b
.endm

FUNCTION tandem_sme2_product_i4_groups
    ENTER
    cntw x27
    ptrue p0.b
    ptrue pn10.b
    ldr x20, [x0, #I8_WORDS]
    ldp x11, x10, [x0, #GROUPS_SCALE_STEP]
    udiv x9, x20, x10
    lsl x11, x11, #2
    lsr x10, x10, #2
    ldr x14, [x0, #I8_WIDTH]
    lsl x14, x14, #2
    lsl x16, x14, #1
    add x17, x16, x14
    lsl x13, x14, #2
    ldr x20, [x0, #I8_CLAMP]
    ld1rw {z12.s}, p0/z, [x20]
    ld1rw {z13.s}, p0/z, [x20, #4]
    FLOAT z30, 0x3d800000 // 1/16
    ldr x28, [x0, #I8_RHS]
    ldr x4, [x0, #I8_PANELS]
    ldr x6, [x0, #I8_FIRST]
30: // panel
    mov x2, x28
    mov x5, #0
31: // block of VL columns
    ldr x20, [x0, #I8_COLUMNS]
    cmp x6, x20
    b.hs 90f
    ldr x21, [x0, #I8_WIDTH]
    sub x21, x21, x5
    lsl x22, x21, #2
    whilelt p2.b, xzr, x22
    add x21, x21, x6
    cmp x20, x21
    csel x20, x20, x21, lo
    whilelt p1.s, x6, x20
    ldr x20, [x0, #GROUPS_SUMS]
    ld1w {z29.s}, p1/z, [x20, x6, lsl #2]
    fmov z16.s, #16.0
    fmul z29.s, z29.s, z16.s
    mov z28.s, #0
    ldp x29, x20, [x0, #I8_SCALE]
    add x29, x29, x6, lsl #2
    cbz x20, 32f
    ld1w {z28.s}, p1/z, [x20, x6, lsl #2]
32: ldr x1, [x0, #I8_LHS]
    ldr x3, [x0, #I8_GROUPS]
    ldr x7, [x0, #I8_ROWS]
    ldr x30, [x0, #I8_PARAMS]
33: // group of 2 VL positions
    zero {za}
    ld1w {z4.s-z5.s}, pn10/z, [x30, #2, mul vl]
    fmops za2.s, p0/m, p0/m, z4.s, z29.s
    fmops za3.s, p0/m, p0/m, z5.s, z29.s
    mov x24, x1
    mov x25, x2
    mov x19, x29
    mov x15, x9
34: // k of one scale
    zero {za0.s, za1.s}
    mov x26, x10
35: ld1b {z16.b}, p2/z, [x25]
    ld1b {z17.b}, p2/z, [x25, x14]
    ld1b {z18.b}, p2/z, [x25, x16]
    ld1b {z19.b}, p2/z, [x25, x17]
    add x25, x25, x13
    ld1b {z0.b-z3.b}, pn10/z, [x24]
    ld1b {z4.b-z7.b}, pn10/z, [x24, #4, mul vl]
    ld1b {z8.b-z11.b}, pn10/z, [x24, #8, mul vl]
    ld1b {z20.b-z23.b}, pn10/z, [x24, #12, mul vl]
    addvl x24, x24, #16
    NIBBLES z24, z16
    NIBBLES z25, z17
    NIBBLES z26, z18
    NIBBLES z27, z19
    WORD_I4 z0, z1, z2, z3, z24, z16
    WORD_I4 z4, z5, z6, z7, z25, z17
    WORD_I4 z8, z9, z10, z11, z26, z18
    WORD_I4 z20, z21, z22, z23, z27, z19
    subs x26, x26, #1
    b.ne 35b
    ld1w {z14.s}, p1/z, [x19]
    add x19, x19, x11
    FOLD
    subs x15, x15, #1
    b.ne 34b
    addvl x19, x30, #4
    STORE_GROUPS za2
    STORE_GROUPS za3
    addvl x30, x30, #8
    ldr x20, [x0, #I8_LHS_GROUP]
    add x1, x1, x20
    subs x3, x3, #1
    b.ne 33b
    // Next block: of this panel, or of the next.
    ldr x21, [x0, #I8_WIDTH]
    sub x22, x21, x5
    cmp x27, x22
    csel x20, x27, x22, lo
    add x2, x2, x20, lsl #2
    add x5, x5, x20
    add x6, x6, x20
    cmp x5, x21
    b.lo 31b
    ldr x20, [x0, #I8_RHS_PANEL]
    add x28, x28, x20
    subs x4, x4, #1
    b.ne 30b
90: LEAVE
END tandem_sme2_product_i4_groups
