// void tandem_sme2_copy_i8(const Copy *), at step 1: planes become words by fours, zeros in place of those a last word lacks.
//
// Vectors  z0-z3 four planes, z4-z7 their words. p1-p4 the bytes left of their rows, pn8 those of the words.
// x0 Copy   x1 x2 src and dst of the row   x3 width   x4 rows   x5 x6 bytes to the next row   x7 planes left
// x9 x10 src and dst of the four   x11 x17 bytes to the next plane, to the next of words   x13 x14 x16 widths of the planes
// behind the first   x15 x19 bytes done of a row, of words   x20 x21 bytes of a vector, of four   x22 bytes of a row of words
// x23-x25 the other planes' rows   x26 rows left
// Contract: see `Copy` in mod.rs.

FUNCTION tandem_sme2_copy_i8
    ENTER
    ldp x9, x10, [x0]
    ldr x3, [x0, #16]
    ldp x4, x5, [x0, #32]
    ldp x6, x7, [x0, #48]
    ldp x11, x17, [x0, #64]
    lsl x6, x6, #2
    lsl x17, x17, #2
    lsl x22, x3, #2
    cntb x20
    lsl x21, x20, #2
1:  // four planes
    cmp x7, #2
    csel x13, x3, xzr, hs
    cmp x7, #3
    csel x14, x3, xzr, hs
    cmp x7, #4
    csel x16, x3, xzr, hs
    mov x1, x9
    mov x2, x10
    mov x26, x4
2:  // row
    mov x15, #0
    mov x19, #0
    add x23, x1, x11
    add x24, x23, x11
    add x25, x24, x11
3:  whilelt p1.b, x15, x3
    whilelt p2.b, x15, x13
    whilelt p3.b, x15, x14
    whilelt p4.b, x15, x16
    whilelt pn8.b, x19, x22, vlx4
    ld1b {z0.b}, p1/z, [x1, x15]
    ld1b {z1.b}, p2/z, [x23, x15]
    ld1b {z2.b}, p3/z, [x24, x15]
    ld1b {z3.b}, p4/z, [x25, x15]
    zip {z4.b-z7.b}, {z0.b-z3.b}
    st1b {z4.b-z7.b}, pn8, [x2, x19]
    add x15, x15, x20
    add x19, x19, x21
    cmp x15, x3
    b.lo 3b
    add x1, x1, x5
    add x2, x2, x6
    subs x26, x26, #1
    b.ne 2b
    add x9, x9, x11, lsl #2
    add x10, x10, x17
    subs x7, x7, #4
    b.hi 1b
    LEAVE
END tandem_sme2_copy_i8
