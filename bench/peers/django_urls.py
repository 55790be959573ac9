from fcm_django.api.rest_framework import FCMDeviceAuthorizedViewSet
from push_notifications.api.rest_framework import GCMDeviceAuthorizedViewSet
from rest_framework.routers import DefaultRouter

router = DefaultRouter()
router.register("fcm", FCMDeviceAuthorizedViewSet)
router.register("gcm", GCMDeviceAuthorizedViewSet)
urlpatterns = router.urls
