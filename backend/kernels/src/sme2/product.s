// void tandem_sme2_product_f32(const Product *), _f16, _bf16 and, sums of halves kept as f32, _f16_f32, _bf16_f32: groups
// of 2 VL positions times panels of columns, VL = f32 of a streaming vector, any VL of at least 4. A k is a word: one f32
// or two halves.
//
// ZA       za0 za1 / za2 za3: first / second VL positions of a group times first / second VL columns of a block.
// Vectors  z0-z7 lhs of four k, z16-z23 rhs of four k; at the end z0-z3 and z8-z11 sums, z12 and z13 the clamp.
// p0 all lanes, pn8 the block's columns, pn9 the group's positions, pn10 all lanes, p4 the block's columns as halves.
// x0 Product            x1 lhs of the group       x2 rhs of the block      x3 groups left      x4 panels left
// x5 column in panel    x6 column                 x7 row pointers          x8 run              x9-x11 1, 2, 3 lhs steps
// x13 4 lhs steps (B)   x14-x16 1, 2, 3 rhs steps x17 4 rhs steps (B)      x19 runs left       x20-x23 rows, scratch
// x24 lhs   x25 rhs     x26 k left   x27 VL   x28 rhs of the panel   x29 segments of the block   x30 positions left
// Contract: see `Product` in mod.rs. Clobbers what AAPCS64 allows.

.equ LHS, 0
.equ LHS_STEP, 8
.equ LHS_GROUP, 16
.equ GROUPS, 24
.equ RUNS, 32
.equ RUN_COUNT, 40
.equ RHS, 48
.equ RHS_STEP, 56
.equ RHS_PANEL, 64
.equ PANELS, 72
.equ WIDTH, 80
.equ ROWS, 88
.equ RESIDUALS, 96
.equ COLUMNS, 104
.equ POSITIONS, 112
.equ BIAS, 120
.equ CLAMP, 128
.equ FIRST, 136
.equ SEGMENTS, 144

// A k of 2 VL positions times 2 VL columns: `op` and lanes by element.
.macro OUTER op, t, a0, a1, b0, b1
    \op za0.s, p0/m, p0/m, \a0\().\t, \b0\().\t
    \op za1.s, p0/m, p0/m, \a0\().\t, \b1\().\t
    \op za2.s, p0/m, p0/m, \a1\().\t, \b0\().\t
    \op za3.s, p0/m, p0/m, \a1\().\t, \b1\().\t
.endm
.macro OUTER_f32 a0, a1, b0, b1
    OUTER fmopa, s, \a0, \a1, \b0, \b1
.endm
.macro OUTER_f16 a0, a1, b0, b1
    OUTER fmopa, h, \a0, \a1, \b0, \b1
.endm
.macro OUTER_bf16 a0, a1, b0, b1
    OUTER bfmopa, h, \a0, \a1, \b0, \b1
.endm

.macro OUTER_i8 a0, a1, b0, b1
    OUTER smopa, b, \a0, \a1, \b0, \b1
.endm
.macro OUTER_i16 a0, a1, b0, b1
    OUTER smopa, h, \a0, \a1, \b0, \b1
.endm

.macro OUTER4 element
    OUTER_\element z0, z1, z16, z17
    OUTER_\element z2, z3, z18, z19
    OUTER_\element z4, z5, z20, z21
    OUTER_\element z6, z7, z22, z23
.endm

// Four k of an operand whose k lie behind each other, `at` vectors on.
.macro NEXT4 r0, r3, r4, r7, ptr, at0, at4
    ld1w {\r0\().s-\r3\().s}, pn10/z, [\ptr, #\at0, mul vl]
    ld1w {\r4\().s-\r7\().s}, pn10/z, [\ptr, #\at4, mul vl]
.endm

.macro LHS4 form
.ifc \form, packed
    NEXT4 z0, z3, z4, z7, x24, 0, 4
.else
    ld1w {z0.s-z1.s}, pn9/z, [x24]
    ld1w {z2.s-z3.s}, pn9/z, [x24, x9, lsl #2]
    ld1w {z4.s-z5.s}, pn9/z, [x24, x10, lsl #2]
    ld1w {z6.s-z7.s}, pn9/z, [x24, x11, lsl #2]
.endif
    add x24, x24, x13
.endm

.macro RHS4 form
.ifc \form, packed
    NEXT4 z16, z19, z20, z23, x25, 0, 4
.else
    ld1w {z16.s-z17.s}, pn8/z, [x25]
    ld1w {z18.s-z19.s}, pn8/z, [x25, x14, lsl #2]
    ld1w {z20.s-z21.s}, pn8/z, [x25, x15, lsl #2]
    ld1w {z22.s-z23.s}, pn8/z, [x25, x16, lsl #2]
.endif
    add x25, x25, x17
.endm

// All k of the tile, run by run. Runs are of lhs, or with segments of rhs; the other operand's k just go on.
.macro REDUCE element, lhs, rhs
10: ldp x20, x26, [x8], #16
    cbnz x29, 17f
    add x24, x1, x20, lsl #2
    b 18f
17: add x25, x2, x20, lsl #2
18:
.ifc \lhs\rhs, packedpacked
    subs x26, x26, #8
    b.lo 12f
11: NEXT4 z0, z3, z4, z7, x24, 0, 4
    NEXT4 z16, z19, z20, z23, x25, 0, 4
    OUTER4 \element
    NEXT4 z0, z3, z4, z7, x24, 8, 12
    NEXT4 z16, z19, z20, z23, x25, 8, 12
    add x24, x24, x13, lsl #1
    add x25, x25, x17, lsl #1
    OUTER4 \element
    subs x26, x26, #8
    b.hs 11b
12: add x26, x26, #8
.endif
    subs x26, x26, #4
    b.lo 14f
13: LHS4 \lhs
    RHS4 \rhs
    OUTER4 \element
    subs x26, x26, #4
    b.hs 13b
14: adds x26, x26, #4
    b.eq 16f
15: ld1w {z0.s-z1.s}, pn9/z, [x24]
    ld1w {z16.s-z17.s}, pn8/z, [x25]
    add x24, x24, x9, lsl #2
    add x25, x25, x14, lsl #2
    OUTER_\element z0, z1, z16, z17
    subs x26, x26, #1
    b.ne 15b
16: subs x19, x19, #1
    b.ne 10b
    b 20f
.endm

// Adds what VL rows have to two tiles, of which `tile` is the first; x19 residual pointers, x24-x26 a quarter of VL of them
// (B) once, twice and three times. A group of vectors of ZA has every fourth row, counted in quarters of VL, of a tile.
.macro ADD_RESIDUAL tile, next
    mov w8, #0
1:  ldr x20, [x19]
    ldr x21, [x19, x24]
    ldr x22, [x19, x25]
    ldr x23, [x19, x26]
    ld1w {z0.s, z8.s}, pn8/z, [x20, x6, lsl #2]
    ld1w {z1.s, z9.s}, pn8/z, [x21, x6, lsl #2]
    ld1w {z2.s, z10.s}, pn8/z, [x22, x6, lsl #2]
    ld1w {z3.s, z11.s}, pn8/z, [x23, x6, lsl #2]
    fadd za.s[w8, \tile, vgx4], {z0.s-z3.s}
    fadd za.s[w8, \next, vgx4], {z8.s-z11.s}
    add x19, x19, #8
    add w8, w8, #4
    cmp w8, w27
    b.lo 1b
    add x19, x19, x26
.endm

// Four rows of two tiles: of f32 in z0-z3 and z8-z11, of halves whole in z0-z3. `clamp` is yes or no.
.macro SUMS left, right, clamp
    mova {z0.s-z3.s}, \left\()h.s[w12, 0:3]
    mova {z8.s-z11.s}, \right\()h.s[w12, 0:3]
.ifc \clamp, yes
    fmax {z0.s-z3.s}, {z0.s-z3.s}, z12.s
    fmax {z8.s-z11.s}, {z8.s-z11.s}, z12.s
    fmin {z0.s-z3.s}, {z0.s-z3.s}, z13.s
    fmin {z8.s-z11.s}, {z8.s-z11.s}, z13.s
.endif
.endm
.macro NARROW_f32
.endm
.macro NARROW_f16
    NARROW fcvtn
.endm
.macro NARROW_bf16
    NARROW bfcvtn
.endm
// Two rows' left halves and two rows' right ones, each interleaved, then row by row.
.macro NARROW op
    \op z4.h, {z0.s-z1.s}
    \op z5.h, {z8.s-z9.s}
    \op z6.h, {z2.s-z3.s}
    \op z7.h, {z10.s-z11.s}
    uzp {z0.h-z1.h}, z4.h, z5.h
    uzp {z2.h-z3.h}, z6.h, z7.h
.endm

// A row at its pointer: the block's columns, or the lanes of a segment only, p1 and p2 of the first and second VL of f32 or
// p1 of all halves, which go to elements x24 and x25.
.macro PUT_f32_rows left, right, row
    st1w {\left\().s, \right\().s}, pn8, [\row, x6, lsl #2]
.endm
.macro PUT_half_rows left, right, row
    st1h {\left\().h}, p4, [\row, x6, lsl #1]
.endm
.macro PUT_f32_lanes left, right, row
    cbz \row, 2f
    st1w {\left\().s}, p1, [\row, x24, lsl #2]
    st1w {\right\().s}, p2, [\row, x25, lsl #2]
.endm
.macro PUT_half_lanes left, right, row
    cbz \row, 2f
    st1h {\left\().h}, p1, [\row, x24, lsl #1]
.endm
.macro PUT_f16_rows left, right, row
    PUT_half_rows \left, \right, \row
.endm
.macro PUT_bf16_rows left, right, row
    PUT_half_rows \left, \right, \row
.endm
.macro PUT_f16_lanes left, right, row
    PUT_half_lanes \left, \right, \row
.endm
.macro PUT_bf16_lanes left, right, row
    PUT_half_lanes \left, \right, \row
.endm

// Two tiles to VL rows, or lanes up to the first row that is null.
.macro STORE left, right, clamp, element, form
    mov w12, #0
1:  SUMS \left, \right, \clamp
    NARROW_\element
    ldp x20, x21, [x7], #16
    ldp x22, x23, [x7], #16
    PUT_\element\()_\form z0, z8, x20
    PUT_\element\()_\form z1, z9, x21
    PUT_\element\()_\form z2, z10, x22
    PUT_\element\()_\form z3, z11, x23
2:  add w12, w12, #4
    cmp w12, w27
    b.lo 1b
.endm

// The lanes of a segment, x20 up to x21.
.macro LANES_f32
    whilelt p1.s, xzr, x21
    whilelt p2.s, xzr, x20
    bic p1.b, p0/z, p1.b, p2.b
    whilelt p2.s, x27, x21
    whilelt p3.s, x27, x20
    bic p2.b, p0/z, p2.b, p3.b
    add x25, x24, x27
.endm
.macro LANES_half
    whilelt p1.h, xzr, x21
    whilelt p2.h, xzr, x20
    bic p1.b, p0/z, p1.b, p2.b
.endm
.macro LANES_f16
    LANES_half
.endm
.macro LANES_bf16
    LANES_half
.endm

// A group's rows, each a plane, at the block's segments: (first lane, end, offset of lane 0), the last one empty.
.macro PLANES clamp, element
    mov x26, x7
    mov x8, x29
5:  ldp x20, x21, [x8], #16
    ldr x24, [x8], #8
    cbz x21, 6f
    mov x7, x26
    LANES_\element
    STORE za0, za1, \clamp, \element, lanes
    STORE za2, za3, \clamp, \element, lanes
    b 5b
6:  add x7, x26, x27, lsl #4
.endm

// Elements of lhs and rhs, and of rows.
.macro PRODUCT name, element, to
FUNCTION \name
    ENTER
    cntw x27
    ptrue p0.b
    ptrue pn10.s
    ldr x9, [x0, #LHS_STEP]
    ldr x14, [x0, #RHS_STEP]
    lsl x10, x9, #1
    add x11, x10, x9
    lsl x13, x9, #4
    lsl x15, x14, #1
    add x16, x15, x14
    lsl x17, x14, #4
    ldr x28, [x0, #RHS]
    ldr x4, [x0, #PANELS]
    ldr x6, [x0, #FIRST]
    ldr x29, [x0, #SEGMENTS]
30: // panel
    mov x2, x28
    mov x5, #0
31: // block of 2 VL columns
    ldr x20, [x0, #COLUMNS]
    cmp x6, x20
    b.hs 90f
    ldr x21, [x0, #WIDTH]
    sub x21, x21, x5
    add x21, x21, x6
    cmp x20, x21
    csel x20, x20, x21, lo
    whilelt pn8.s, x6, x20, vlx2
.ifnc \to, f32
    whilelt p4.h, x6, x20
.endif
    ldr x1, [x0, #LHS]
    ldr x3, [x0, #GROUPS]
    ldr x7, [x0, #ROWS]
    ldr x30, [x0, #POSITIONS]
32: // group of 2 VL positions
    whilelt pn9.s, xzr, x30, vlx2
    zero {za}
    mov x24, x1
    mov x25, x2
    ldp x8, x19, [x0, #RUNS]
    lsl x20, x27, #1
    // A form is packed where a step is the 2 VL elements that are used of it.
    cmp x30, x20
    b.lo 4f
    cmp x9, x20
    b.ne 4f
    cmp x14, x20
    b.ne 3f
    REDUCE \element, packed, packed
3:  REDUCE \element, packed, strided
4:  cmp x14, x20
    b.ne 5f
    REDUCE \element, strided, packed
5:  REDUCE \element, strided, strided
20: fmov z0.s, #1.0
    ldp x20, x22, [x0, #BIAS]
    cbz x22, 21f
    ld1rw {z12.s}, p0/z, [x22]
    ld1rw {z13.s}, p0/z, [x22, #4]
21: cbnz x29, 25f
    cbz x20, 22f
    ld1w {z4.s-z5.s}, pn8/z, [x20, x6, lsl #2]
    OUTER_f32 z0, z0, z4, z5
22:
.ifc \element, f32
    ldp x20, x21, [x0, #ROWS]
    cbz x21, 24f
    // Residual pointers lie as the rows do.
    sub x19, x7, x20
    add x19, x19, x21
    lsl x24, x27, #1
    lsl x25, x27, #2
    add x26, x25, x24
    ADD_RESIDUAL 0, 1
    ADD_RESIDUAL 2, 3
    ldr x22, [x0, #CLAMP]
24:
.endif
    cbz x22, 23f
    STORE za0, za1, yes, \to, rows
    STORE za2, za3, yes, \to, rows
    b 29f
23: STORE za0, za1, no, \to, rows
    STORE za2, za3, no, \to, rows
    b 29f
25: cbz x20, 26f
    ldr x21, [x0, #POSITIONS]
    sub x21, x21, x30
    ld1w {z4.s-z5.s}, pn9/z, [x20, x21, lsl #2]
    OUTER_f32 z4, z5, z0, z0
26: cbnz x22, 27f
    PLANES no, \to
    b 29f
27: PLANES yes, \to
29: ldr x20, [x0, #LHS_GROUP]
    add x1, x1, x20, lsl #2
    sub x30, x30, x27, lsl #1
    subs x3, x3, #1
    b.ne 32b
    // Next block: of this panel, or of the next. Its segments follow those of this one, which PLANES left in x8.
    cmp x29, #0
    csel x29, x8, xzr, ne
    lsl x20, x27, #1
    ldr x21, [x0, #WIDTH]
    sub x22, x21, x5
    cmp x20, x22
    csel x20, x20, x22, lo
    add x2, x2, x20, lsl #2
    add x5, x5, x20
    add x6, x6, x20
    cmp x5, x21
    b.lo 31b
    ldr x20, [x0, #RHS_PANEL]
    add x28, x28, x20, lsl #2
    subs x4, x4, #1
    b.ne 30b
90: LEAVE
END \name
.endm

PRODUCT tandem_sme2_product_f32, f32, f32
PRODUCT tandem_sme2_product_f16, f16, f16
PRODUCT tandem_sme2_product_f16_f32, f16, f32
PRODUCT tandem_sme2_product_bf16, bf16, bf16
PRODUCT tandem_sme2_product_bf16_f32, bf16, f32
