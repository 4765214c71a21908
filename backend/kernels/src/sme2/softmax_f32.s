// void tandem_sme2_softmax_f32(const Rows *): softmax of rows of neighbours, or only what it takes, four vectors at a time;
// arithmetic in ZA and in multi-vector instructions, as those on single vectors are slow in streaming mode.
//
// e^(x - max) = 2^n p(f), n the nearest integer to y = (x - max) log2 e, f = y - n, p of degree 5 with p(0) = 1 and an
// error of 1.2e-7. y is at least -127, where n's exponent and f = 0 make a zero: of -inf too. NaN stays NaN.
// f^2 never stands alone: with g = f + f^2, which needs no zero to begin with, f^2 a = g a - f a.
//
// ZA       vgx4 groups (w8 = 0): 0 arithmetic, 1 n as an exponent, 2 the sum, 3 -max log2 e.
// Vectors  z0-z3 x, y, then sums of p; z4-z7 f; z8-z11 n, g; z12 log2 e, p5, p3, p1; z13 -127; z14 23; z15 1 / sum;
//          z16-z19 -inf; z20-z23 p4; z24-z27 p2; z28-z31 1. In the last pass z4-z7 are 0.
// p0 all lanes, pn8 elements left.
// x0 Rows   x1 src   x2 dst of the row   x3 elements   x4 rows left   x5 x6 bytes between rows   x7 constants
// x9 element   x10 4 VL   x11 the row's largest and sum
// Contract: see `Rows` in mod.rs.

// Three more of a vector.
.macro SAME first, second, third, fourth
    mov \second\().d, \first\().d
    mov \third\().d, \first\().d
    mov \fourth\().d, \first\().d
.endm

// Elements from x9 on, -inf behind the last.
.macro LOAD_ROW
    ld1w {z0.s-z3.s}, pn8/z, [x1, x9, lsl #2]
    sel {z0.s-z3.s}, pn8, {z0.s-z3.s}, {z16.s-z19.s}
.endm

// z0-z3 to 2^n p(f), also left in ZA.
.macro EXPONENTIAL
    mova {z8.d-z11.d}, za.d[w8, 3, vgx4]
    mova za.d[w8, 0, vgx4], {z8.d-z11.d}
    fmla za.s[w8, 0, vgx4], {z0.s-z3.s}, z12.s[0]
    mova {z0.d-z3.d}, za.d[w8, 0, vgx4]
    fmax {z0.s-z3.s}, {z0.s-z3.s}, z13.s
    mova za.d[w8, 0, vgx4], {z0.d-z3.d}
    frintn {z8.s-z11.s}, {z0.s-z3.s}
    fsub za.s[w8, 0, vgx4], {z8.s-z11.s}
    mova {z4.d-z7.d}, za.d[w8, 0, vgx4]
    fcvtzs {z8.s-z11.s}, {z8.s-z11.s}
    srshl {z8.s-z11.s}, {z8.s-z11.s}, z14.s
    mova za.d[w8, 1, vgx4], {z8.d-z11.d}
    fmla za.s[w8, 0, vgx4], {z4.s-z7.s}, {z4.s-z7.s}
    mova {z8.d-z11.d}, za.d[w8, 0, vgx4]
    mova za.d[w8, 0, vgx4], {z20.d-z23.d}
    fmla za.s[w8, 0, vgx4], {z4.s-z7.s}, z12.s[1]
    mova {z0.d-z3.d}, za.d[w8, 0, vgx4]
    mova za.d[w8, 0, vgx4], {z24.d-z27.d}
    fmla za.s[w8, 0, vgx4], {z4.s-z7.s}, z12.s[2]
    fmla za.s[w8, 0, vgx4], {z8.s-z11.s}, {z0.s-z3.s}
    fmls za.s[w8, 0, vgx4], {z4.s-z7.s}, {z0.s-z3.s}
    mova {z0.d-z3.d}, za.d[w8, 0, vgx4]
    mova za.d[w8, 0, vgx4], {z28.d-z31.d}
    fmla za.s[w8, 0, vgx4], {z4.s-z7.s}, z12.s[3]
    fmla za.s[w8, 0, vgx4], {z8.s-z11.s}, {z0.s-z3.s}
    fmls za.s[w8, 0, vgx4], {z4.s-z7.s}, {z0.s-z3.s}
    mova {z8.d-z11.d}, za.d[w8, 1, vgx4]
    add za.s[w8, 0, vgx4], {z8.s-z11.s}
    mova {z0.d-z3.d}, za.d[w8, 0, vgx4]
.endm

// The sum of a row's exponentials, which go to dst where `store` is yes.
.macro SUM_EXPONENTIALS store
    mov x9, #0
    b 5f
4:  LOAD_ROW
    EXPONENTIAL
    fadd za.s[w8, 2, vgx4], {z0.s-z3.s}
.ifc \store, yes
    st1w {z0.s-z3.s}, pn8, [x2, x9, lsl #2]
.endif
    add x9, x9, x10
5:  whilelt pn8.s, x9, x3, vlx4
    b.any 4b
    mova {z0.d-z3.d}, za.d[w8, 2, vgx4]
    fadd z0.s, z0.s, z1.s
    fadd z2.s, z2.s, z3.s
    fadd z0.s, z0.s, z2.s
    faddv s0, p0, z0.s
.endm

FUNCTION tandem_sme2_softmax_f32
    ENTER
    ldp x1, x2, [x0]
    ldp x3, x4, [x0, #16]
    ldp x5, x6, [x0, #32]
    ldp x7, x11, [x0, #48]
    lsl x5, x5, #2
    lsl x6, x6, #2
    cntw x10, all, mul #4
    mov w8, #0
    ptrue p0.s
    ld1rqw {z12.s}, p0/z, [x7]
    ld1rw {z13.s}, p0/z, [x7, #16]
    mov z14.s, #23
    ld1rw {z16.s}, p0/z, [x7, #20]
    SAME z16, z17, z18, z19
    ld1rw {z20.s}, p0/z, [x7, #24]
    SAME z20, z21, z22, z23
    ld1rw {z24.s}, p0/z, [x7, #28]
    SAME z24, z25, z26, z27
    fmov z28.s, #1.0
    SAME z28, z29, z30, z31
1:  // The row's largest.
    mov z8.d, z16.d
    SAME z8, z9, z10, z11
    mov x9, #0
    b 3f
2:  LOAD_ROW
    fmax {z8.s-z11.s}, {z8.s-z11.s}, {z0.s-z3.s}
    add x9, x9, x10
3:  whilelt pn8.s, x9, x3, vlx4
    b.any 2b
    fmax {z8.s-z9.s}, {z8.s-z9.s}, {z10.s-z11.s}
    fmax z8.s, p0/m, z8.s, z9.s
    fmaxv s8, p0, z8.s
    cbz x11, 4f
    str s8, [x11]
4:  fnmul s8, s8, s12
    mov z8.s, s8
    SAME z8, z9, z10, z11
    // Exponentials and their sum.
    zero {za}
    mova za.d[w8, 3, vgx4], {z8.d-z11.d}
    cbz x11, 8f
    SUM_EXPONENTIALS no
    str s0, [x11, #4]
    add x11, x11, #8
    b 9f
8:  SUM_EXPONENTIALS yes
    fdiv s15, s28, s0
    mov z15.s, s15
    // Divided by the sum.
    mov z4.s, #0
    SAME z4, z5, z6, z7
    mov x9, #0
    b 7f
6:  ld1w {z0.s-z3.s}, pn8/z, [x2, x9, lsl #2]
    mova za.d[w8, 0, vgx4], {z4.d-z7.d}
    fmla za.s[w8, 0, vgx4], {z0.s-z3.s}, z15.s
    mova {z0.d-z3.d}, za.d[w8, 0, vgx4]
    st1w {z0.s-z3.s}, pn8, [x2, x9, lsl #2]
    add x9, x9, x10
7:  whilelt pn8.s, x9, x3, vlx4
    b.any 6b
9:  add x1, x1, x5
    add x2, x2, x6
    subs x4, x4, #1
    b.ne 1b
    LEAVE
END tandem_sme2_softmax_f32
