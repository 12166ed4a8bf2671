"""OpenAI's image routes over jobs."""

from fastapi import APIRouter

router = APIRouter()

__all__ = ["router"]
