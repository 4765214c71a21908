// void tandem_sme2_gemv_f32(const Thin *): few rows times blocks of columns, eight blocks at a time, sums in ZA.
//
// ZA       group g of four vectors: row g / 4 times the blocks 2 (g % 4) and 2 (g % 4) + 1; w8 = 0, w9 = 8.
// Vectors  z0-z3 four k of each row in every 128 bits, z16-z31 a k of the blocks; at the end z0-z3 sums, z4-z7 bias,
//          z12 z13 the clamp.
// p0 all lanes, pn8 a block's columns, pn9 pn10 the columns of two blocks that exist.
// x0 Thin   x1-x4 rows   x5 block pointers   x6 column   x7 columns   x8 x9 groups of ZA   x10 rhs step   x11 blocks left
// x13 clamp   x14 dst   x15 elements from a block's start to the k   x16 k done   x17 k   x19 row count
// x20-x26, x28 blocks   x27 column of the second block   x30 columns of a block
// Contract: see `Thin` in mod.rs.

.equ THIN_LHS, 0
.equ THIN_LHS_ROW, 8
.equ THIN_ROWS, 16
.equ THIN_K, 24
.equ THIN_BLOCKS, 32
.equ THIN_COUNT, 40
.equ THIN_RHS_STEP, 48
.equ THIN_WIDTH, 56
.equ THIN_DST, 64
.equ THIN_DST_ROW, 72
.equ THIN_COLUMNS, 80
.equ THIN_BIAS, 88
.equ THIN_CLAMP, 96

// A row times a k of the blocks; `w` and the numbers name the row's groups of ZA.
.macro TIMES_ROW blocks, w, g0, g1, g2, g3, lhs, at
    fmla za.s[\w, \g0, vgx4], {z16.s-z19.s}, \lhs\().s[\at]
.if \blocks > 2
    fmla za.s[\w, \g1, vgx4], {z20.s-z23.s}, \lhs\().s[\at]
    fmla za.s[\w, \g2, vgx4], {z24.s-z27.s}, \lhs\().s[\at]
    fmla za.s[\w, \g3, vgx4], {z28.s-z31.s}, \lhs\().s[\at]
.endif
.endm

// A k of all rows, number `at` of the four in z0-z3.
.macro TIMES blocks, rows, at
    ld1w {z16.s-z17.s}, pn8/z, [x20, x15, lsl #2]
    ld1w {z18.s-z19.s}, pn8/z, [x21, x15, lsl #2]
.if \blocks > 2
    ld1w {z20.s-z21.s}, pn8/z, [x22, x15, lsl #2]
    ld1w {z22.s-z23.s}, pn8/z, [x23, x15, lsl #2]
    ld1w {z24.s-z25.s}, pn8/z, [x24, x15, lsl #2]
    ld1w {z26.s-z27.s}, pn8/z, [x25, x15, lsl #2]
    ld1w {z28.s-z29.s}, pn8/z, [x26, x15, lsl #2]
    ld1w {z30.s-z31.s}, pn8/z, [x28, x15, lsl #2]
.endif
    add x15, x15, x10
    TIMES_ROW \blocks, w8, 0, 1, 2, 3, z0, \at
.if \rows > 1
    TIMES_ROW \blocks, w8, 4, 5, 6, 7, z1, \at
.endif
.if \rows > 2
    TIMES_ROW \blocks, w9, 0, 1, 2, 3, z2, \at
.endif
.if \rows > 3
    TIMES_ROW \blocks, w9, 4, 5, 6, 7, z3, \at
.endif
.endm

// k x16 to x16 + 3 of every row, as many as `mask` has.
.macro LOAD_ROWS rows, mask
    ld1rqw {z0.s}, \mask/z, [x1, x16, lsl #2]
.if \rows > 1
    ld1rqw {z1.s}, \mask/z, [x2, x16, lsl #2]
.endif
.if \rows > 2
    ld1rqw {z2.s}, \mask/z, [x3, x16, lsl #2]
.endif
.if \rows > 3
    ld1rqw {z3.s}, \mask/z, [x4, x16, lsl #2]
.endif
.endm

// All k of up to eight blocks.
.macro SUM_ROWS blocks, rows
    subs x17, x17, #4
    b.lo 2f
1:  LOAD_ROWS \rows, p0
    TIMES \blocks, \rows, 0
    TIMES \blocks, \rows, 1
    TIMES \blocks, \rows, 2
    TIMES \blocks, \rows, 3
    add x16, x16, #4
    subs x17, x17, #4
    b.hs 1b
2:  adds x17, x17, #4
    b.eq 60f
    whilelt p1.s, xzr, x17
    cmp x17, #2
    LOAD_ROWS \rows, p1
    TIMES \blocks, \rows, 0
    b.lo 60f
    TIMES \blocks, \rows, 1
    b.eq 60f
    TIMES \blocks, \rows, 2
    b 60f
.endm

// The same for the number of rows in x19.
.macro SUM blocks
    cmp x19, #2
    b.hi 6f
    b.eq 5f
    SUM_ROWS \blocks, 1
5:  SUM_ROWS \blocks, 2
6:  cmp x19, #4
    b.eq 7f
    SUM_ROWS \blocks, 3
7:  SUM_ROWS \blocks, 4
.endm

// Two blocks of every row: group `at` of a row's four.
.macro FINISH_BLOCKS at
    add x27, x6, x30
    cmp x27, x7
    csel x20, x27, x7, lo
    whilelt pn9.s, x6, x20, vlx2
    add x21, x27, x30
    cmp x21, x7
    csel x20, x21, x7, lo
    whilelt pn10.s, x27, x20, vlx2
    cbz x22, 1f
    ld1w {z4.s-z5.s}, pn9/z, [x22, x6, lsl #2]
    ld1w {z6.s-z7.s}, pn10/z, [x22, x27, lsl #2]
1:  mov w8, #0
    mov x23, x14
    mov x24, x19
2:  fadd za.s[w8, \at, vgx4], {z4.s-z7.s}
    mova {z0.d-z3.d}, za.d[w8, \at, vgx4]
    cbz x13, 3f
    fmax {z0.s-z3.s}, {z0.s-z3.s}, z12.s
    fmin {z0.s-z3.s}, {z0.s-z3.s}, z13.s
3:  st1w {z0.s-z1.s}, pn9, [x23, x6, lsl #2]
    st1w {z2.s-z3.s}, pn10, [x23, x27, lsl #2]
    add x23, x23, x25
    add w8, w8, #4
    subs x24, x24, #1
    b.ne 2b
    mov x6, x21
.endm

FUNCTION tandem_sme2_gemv_f32
    ENTER
    ptrue p0.s
    mov w9, #8
    mov x6, #0
    ldp x1, x20, [x0, #THIN_LHS]
    add x2, x1, x20, lsl #2
    add x3, x2, x20, lsl #2
    add x4, x3, x20, lsl #2
    ldr x19, [x0, #THIN_ROWS]
    ldp x5, x11, [x0, #THIN_BLOCKS]
    ldp x10, x30, [x0, #THIN_RHS_STEP]
    ldr x14, [x0, #THIN_DST]
    ldr x7, [x0, #THIN_COLUMNS]
    ldr x13, [x0, #THIN_CLAMP]
    whilelt pn8.s, xzr, x30, vlx2
    cbz x13, 50f
    ld1rw {z12.s}, p0/z, [x13]
    ld1rw {z13.s}, p0/z, [x13, #4]
50: // eight blocks
    zero {za}
    ldp x20, x21, [x5], #16
    ldp x22, x23, [x5], #16
    ldp x24, x25, [x5], #16
    ldp x26, x28, [x5], #16
    ldr x17, [x0, #THIN_K]
    mov w8, #0
    mov x15, #0
    mov x16, #0
    cmp x11, #2
    b.ls 51f
    SUM 8
51: SUM 2
60: ldr x22, [x0, #THIN_BIAS]
    ldr x25, [x0, #THIN_DST_ROW]
    lsl x25, x25, #2
    mov z4.s, #0
    mov z5.s, #0
    mov z6.s, #0
    mov z7.s, #0
    FINISH_BLOCKS 0
    cmp x11, #2
    b.ls 61f
    FINISH_BLOCKS 1
    FINISH_BLOCKS 2
    FINISH_BLOCKS 3
61: subs x11, x11, #8
    b.hi 50b
    LEAVE
END tandem_sme2_gemv_f32
