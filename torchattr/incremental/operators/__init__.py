"""Operations on changed pixels, by kind."""
